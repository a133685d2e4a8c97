"""How a model is laid over devices."""

from __future__ import annotations

from dataclasses import dataclass

from genz.errors import InvalidValueError
from genz.specs.model import ModelSpec
from genz.specs.workload import check_count


@dataclass(frozen=True)
class Parallelism:
    """Degrees of parallelism. `tensor`: each matrix and each head group is split over that many devices."""

    tensor: int = 1

    @property
    def devices(self) -> int:
        """Devices that one copy of the model takes."""
        return self.tensor

    def check(self, model: ModelSpec, *, devices: int, domain: int) -> None:
        """Raise `InvalidValueError` for a degree that devices, network or model do not allow."""
        check_count(self.tensor, "tensor_parallel_size", least=1)
        if self.tensor > devices:
            raise InvalidValueError(
                f"tensor_parallel_size: {self.tensor} is more than the platform's {devices} devices",
                field="tensor_parallel_size", value=self.tensor, allowed=f"1 to {devices}",
                hint=f"ask for a platform of {self.tensor} devices, as in '{self.tensor}x CHIP'",
            )  # fmt: skip
        if self.tensor > max(domain, 1):
            raise InvalidValueError(
                f"tensor_parallel_size: {self.tensor} is more than the {domain} devices of the scale-up domain",
                field="tensor_parallel_size", value=self.tensor, allowed=f"1 to {domain}",
            )  # fmt: skip
        if model.attention_heads % self.tensor:
            divisors = [d for d in range(1, model.attention_heads + 1) if model.attention_heads % d == 0]
            nearest = min(divisors, key=lambda d: (abs(d - self.tensor), d))
            raise InvalidValueError(
                f"tensor_parallel_size: {model.name} has {model.attention_heads} attention heads, which {self.tensor} "
                "devices cannot share evenly", field="tensor_parallel_size", value=self.tensor,
                allowed="a divisor of the heads: " + ", ".join(map(str, divisors)), hint=f"the nearest is {nearest}",
            )  # fmt: skip
        if devices % self.devices:
            below = [d for d in range(1, devices + 1) if devices % d == 0 and model.attention_heads % d == 0]
            raise InvalidValueError(
                f"tensor_parallel_size: {devices} devices are no whole number of copies of {self.tensor}",
                field="tensor_parallel_size", value=self.tensor, allowed=", ".join(map(str, below)),
            )  # fmt: skip
