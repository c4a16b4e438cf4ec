"""Packs: instances of one architecture that train together, in batched kernels, each exactly as it would alone.

The members of a pack share architecture, optimizer, batch size and number of epochs; seeds and the rest of the recipe
are their own. What a network does to one example it does to a batch of all members' examples, one member's after the
other's; only modules with weights or random numbers know of members (`network`). Weights, gradients and the optimizer's
moments of all members lie side by side (`stack`, `optimizer`), and each member's ordinary network looks at its part.
Where batched kernels would round otherwise than those of a lone training, members take turns (`products`, `turns`; on a
GPU launches cost more than bits: `grouped`). `instances` is the way in; what cannot be packed it trains one by one.
"""
