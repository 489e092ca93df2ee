"""Min-max transport over two input-convex potentials.

Makkuva, Taghvaei, Oh, Lee (2020), "Optimal transport mapping via input convex neural networks", arXiv 1908.10831, as
the W2 benchmark of Korotin et al. (2021, arXiv 2106.01954) runs it: MMv2, and with `reverse` MMv2:R.
"""

from __future__ import annotations

from methods.transport.mm import MM


class MMv2(MM):
    """The objective and the updates of MM, with the weights of both potentials clamped after each step.

    The authors of 1908.10831 clamp ψ alone and penalize the negative weights of ψ̄; the benchmark clamps both.

    Args: those of MM.
    """

    name = "mm-v2"
    paper = "Makkuva et al. 2020, arXiv 1908.10831"
    summary = "min-max over two input-convex potentials"
    convex = True
