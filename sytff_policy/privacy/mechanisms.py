"""From training parameters to privacy events: the one place that says what a run costs whom."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from sytff_policy.privacy.events import Composed, Gaussian, PoissonSampled, Repeated


@dataclass(frozen=True)
class RunMechanism:
    """The mechanisms of one run.

    Every round draws each unit with chance q = clients_per_round / population, clips every drawn
    unit's update to norm C, sums, and adds Gaussian noise of stddev z C to the sum: one
    Poisson-sampled Gaussian. With adaptive clipping z is the effective multiplier of the update
    and of the clipped count released together (Andrew et al. 2021, Theorem 1). The evaluation is
    one Gaussian on bounded contributions, without amplification. A unit is either trained on or
    evaluated on when the holdout is positive, and charged for both all the same.

    Attributes:
      rounds: Number of rounds, >= 0.
      clients_per_round: Expected cohort size.
      population: Number of privacy units N.
      noise_multiplier: z.
      evaluation_noise: z of the evaluation, or None without one.
    """

    rounds: int
    clients_per_round: int
    population: int
    noise_multiplier: Decimal
    evaluation_noise: Decimal | None = None

    @property
    def round_event(self) -> PoissonSampled:
        return PoissonSampled(
            self.clients_per_round, self.population, Gaussian(self.noise_multiplier)
        )

    def event(self) -> Composed:
        """The worst case: every round and the evaluation."""
        return self.executed(self.rounds, evaluated=self.evaluation_noise is not None)

    def executed(self, rounds: int, *, evaluated: bool) -> Composed:
        """What ran when `rounds` rounds may have drawn noise, and perhaps the evaluation.

        Raises:
          ValueError: If that is more than the mechanism ever allowed.
        """
        if not 0 <= rounds <= self.rounds:
            raise ValueError(f"{rounds} rounds executed of at most {self.rounds}")
        done = [Repeated(rounds, self.round_event)]
        if evaluated:
            if self.evaluation_noise is None:
                raise ValueError("an evaluation was executed that was never part of the run")
            done.append(Repeated(1, Gaussian(self.evaluation_noise)))
        return Composed(tuple(done))
