"""The hierarchically factorized VAE (Esmaeili et al. 2019)."""

from __future__ import annotations

from torch import Tensor

from methods.autoencoders.beta_tcvae import BetaTCVAE
from methods.parts.variational import AggregateEstimator, correlation_within_groups, decompose_kl


class HFVAE(BetaTCVAE):
    """A VAE whose KL is decomposed, with a weight on the total correlation between groups of dimensions and within.

    Minimizes E[−log p(x | z)] + α I(x; z) + β KL(q(z) ‖ Π_g q(z_g)) + γ Σ_g KL(q(z_g) ‖ Π_j q(z_gj)) +
    Σ_gj KL(q(z_gj) ‖ p(z_gj)), z_g a group of the code's dimensions, each part estimated at the codes drawn, as in the
    authors' ProbTorch. There the prior's correlations are subtracted, of which N(0, I) has none, and groups may be
    discrete variables; here all are Gaussian. With groups of one dimension this is the β-TCVAE.

    Raises:
        ValueError: more groups than dimensions, or none.
    """

    name = "hfvae"
    paper = "Esmaeili et al. 2019, arXiv:1804.02086"
    summary = "VAE with weights on the total correlation between groups of its codes' dimensions, and within them."

    num_groups: int = 2
    """Groups of neighboring dimensions, of one length as near as may be; ours."""
    alpha: float = 1.0
    """Weight of the mutual information of images and codes; 1 is the VAE's."""
    beta: float = 6.0
    """Weight of the total correlation between groups; ours."""
    gamma: float = 1.0
    """Weight of the total correlation within groups; 1 is the VAE's."""
    estimator: AggregateEstimator = "balanced"

    def setup(self) -> None:
        if self.num_groups > self.latent_dim:
            raise ValueError(f"{self.name}: num_groups is {self.num_groups}, above latent_dim = {self.latent_dim}")
        super().setup()

    def regularizer(self, codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        log_weights = self.log_weights(codes)
        information, total_correlation, dimension_wise = decompose_kl(codes, mean, log_variance, log_weights)
        within = correlation_within_groups(codes, mean, log_variance, log_weights, self.num_groups)
        between = total_correlation - within
        return self.alpha * information + self.beta * between + self.gamma * within + dimension_wise
