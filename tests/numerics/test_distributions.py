"""Action distributions against torch.distributions."""

import pytest
import torch
from torch import distributions as reference

from kshot.learning import distributions

GENERATOR = torch.Generator().manual_seed(3)


def pair(kind: str) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    def draw() -> torch.Tensor:
        return torch.randn(4, 5, 3, generator=GENERATOR, dtype=torch.float64)

    return ((draw(), 0.3 * draw()), (draw(), 0.3 * draw())) if kind == "continuous" else ((draw(),), (draw(),))


def torch_distribution(parameters: tuple[torch.Tensor, ...]) -> reference.Distribution:
    if len(parameters) == 2:
        return reference.Independent(reference.Normal(parameters[0], parameters[1].exp()), 1)
    return reference.Categorical(logits=parameters[0])


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
def test_log_prob_entropy_and_kl_agree_with_torch(kind: str) -> None:
    old, new = pair(kind)
    noise = torch.randn(4, 5, 3, generator=GENERATOR, dtype=torch.float64)
    action = distributions.sample(old, noise)
    torch.testing.assert_close(distributions.log_prob(old, action), torch_distribution(old).log_prob(action))
    torch.testing.assert_close(distributions.entropy(old), torch_distribution(old).entropy())
    expected = reference.kl_divergence(torch_distribution(old), torch_distribution(new))
    torch.testing.assert_close(distributions.kl(old, new), expected)


def test_gumbel_noise_samples_the_categorical() -> None:
    logits = torch.log(torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64))
    u = torch.rand(200_000, 3, generator=GENERATOR, dtype=torch.float64)
    drawn = distributions.sample((logits.expand_as(u),), -torch.log(-torch.log(u)))
    frequency = torch.bincount(drawn, minlength=3) / len(drawn)
    assert torch.allclose(frequency, logits.exp().to(frequency), atol=0.005)  # four standard errors are .004
