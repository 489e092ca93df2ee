"""The total correlation VAE (Chen et al. 2018)."""

from __future__ import annotations

from torch import Tensor

from methods.autoencoders.vae import VAE
from methods.parts.variational import AggregateEstimator, aggregate_log_weights, decompose_kl


class BetaTCVAE(VAE):
    """A VAE whose KL is decomposed, and only its total correlation weighed (arXiv 1802.04942, eq. 4 with α = γ = 1).

    Minimizes E[−log p(x | z)] + I(x; z) + β TC(z) + Σ_j KL(q(z_j) ‖ p(z_j)), each part estimated at the codes drawn, as
    in the authors' code; the GWAE paper's takes the KL in closed form and adds (β − 1) TC. The number of training
    images, which the estimates need, is taken for the batches that make an epoch times the images of the present one.
    """

    name = "beta-tcvae"
    paper = "Chen et al. 2018, arXiv:1802.04942"
    summary = "VAE with a weight on the total correlation of its codes alone."

    beta: float = 6.0
    """Weight of the total correlation; 6 in the authors' README, 2 in the GWAE paper's CelebA baseline."""
    estimator: AggregateEstimator = "weighted"
    """Of the aggregate posterior: minibatch-"weighted", the default of the authors' code, "stratified", or "balanced",
    see `aggregate_log_weights`."""

    def regularizer(self, codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        log_weights = self.log_weights(codes)
        information, total_correlation, dimension_wise = decompose_kl(codes, mean, log_variance, log_weights)
        return information + self.beta * total_correlation + dimension_wise

    def log_weights(self, codes: Tensor) -> Tensor:
        """Log-weights [B, B] of the posteriors of a batch in the estimate of the aggregate one at its codes."""
        dataset_size = max(self.steps_per_epoch, 1) * len(codes)
        return aggregate_log_weights(self.estimator, len(codes), dataset_size, codes.device)
