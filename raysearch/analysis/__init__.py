"""Analysis: what a finished or broken-off race shows. Reads plain tables and records, steers nothing.

`results.Results` holds the tables of one race; `intervals`, `savings` and `figures_*` read it; `plots` is the only
import of matplotlib; `report.write_report` puts all of it into one HTML file.
"""
