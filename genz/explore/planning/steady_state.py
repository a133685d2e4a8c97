"""A server under load in steady state, in closed form; all figures are means.

Continuous batching. A data-parallel rank keeps B requests running. When one ends, the next takes its place: its prompt is
prefilled, and the others wait for that. In the time that one request stays, each of the B places is filled once and O - 1
decode steps are run, so that

    T(B) = t_first + (B - 1) t_next + (O - 1) t_step(B)        residence of a request [s]
    x(B) = B / T(B)                                            requests of the rank [1/s]  (Little 1961)
    TPOT = t_step(B) + (B - 1) t_next / (O - 1)

`t_first` is the passage of one prompt, `t_next` what a further prompt adds: the same without a pipeline, the slowest stage's
time with one. An engine that cuts prompts into chunks does the same work spread over more steps.

A new prompt goes before the decode steps but interrupts none, and prompts queue among themselves: the non-preemptive
priority queue of Cobham. With rho = x t_next and decode steps in all the remaining time,

    wait = R / (1 - rho),  R = (x t_next^2 + (1 - rho) t_step) / 2        mean residual work [s]
    TTFT = t_first + wait

Devices that prefill alone are a queue with constant service times (M/D/1), the same without decode steps.

Sources: J. D. C. Little, Operations Research 9(3), 1961; A. Cobham, Operations Research 2(1), 1954;
L. Kleinrock, Queueing Systems, volume 2, 1976, section 3.3; F. Pollaczek, Mathematische Zeitschrift 32, 1930 (M/D/1).
"""

from __future__ import annotations

from genz.numerics import Number, maximum


def residence(first: Number, following: Number, step_time: Number, *, batch: Number, steps: Number) -> Number:
    """Seconds from the start of a request's prefill to its last token: T(B)."""
    return first + (batch - 1) * following + steps * step_time


def token_time(following: Number, step_time: Number, *, batch: Number, steps: Number) -> Number:
    """Mean time per output token after the first, the prefills of the others in it [s]; `steps` are 1 or more."""
    return step_time + (batch - 1) * following / steps


def prompt_wait(rate: Number, service: Number, step_time: Number = 0.0) -> Number:
    """Mean wait of a prompt before its prefill [s] at `rate` prompts a second, each of which takes `service` seconds.

    With `step_time` the rank decodes in all the time that is left, and a prompt waits for the step in progress, too.
    The rate is below 1 / service.
    """
    busy = rate * service
    return rate * service * service / (2 * (1 - busy)) + step_time / 2


def rate_within(wait: Number, service: Number) -> Number:
    """The most prompts a second whose mean wait is `wait` seconds, where nothing else runs; 0 for a wait that is not positive.

    The inverse of `prompt_wait`: x = 2 w / (s (s + 2 w)).
    """
    allowed = maximum(wait, 0.0)
    return 2 * allowed / (service * (service + 2 * allowed))
