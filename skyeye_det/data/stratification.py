"""Dealing out groups of tiles so that each part gets its fraction of everything that is counted.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas: On the Stratification of Multi-label Data, ECML
PKDD 2011), with groups in the place of single examples and counts in the place of labels, followed by single
moves, and exchanges of two groups, for as long as they bring the shares nearer to what was asked.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Where groups are few the first deal may be far off, and another order or an exchange is cheap.
_FEW_GROUPS = 500
_MOST_EXCHANGES = 500
_DEALS = 32
_MOST_MOVES = 5000
_SMALLEST_GAIN = 1e-12

Amounts = NDArray[np.int64]
Shares = NDArray[np.float64]


def stratify(
    amounts: Amounts, fractions: Sequence[float], names: Sequence[str], seed: int
) -> NDArray[np.int64]:
    """Deals groups out to parts.

    The sum over parts and columns of the squared differences between share and fraction is made small; the
    result depends on its arguments alone, and names take the place of the groups' order.

    Args:
        amounts: int64 (groups, columns), at least as many groups as parts, none of them all zeros; columns of
            zeros are passed over.
        fractions: of each part, above 0, with the sum 1.
        names: of each group, no two the same.
        seed: of the order in which groups are dealt.

    Returns:
        int64 (groups,), the part of each; every part gets a group.
    """
    amounts = amounts[:, amounts.any(axis=0)]
    shares = amounts / amounts.sum(axis=0)
    wanted = np.asarray(fractions, np.float64)
    best, best_loss = np.zeros(len(amounts), np.int64), np.inf
    for deal in range(_DEALS if len(amounts) <= _FEW_GROUPS else 1):
        order = np.array(sorted(range(len(names)), key=lambda group: _lot(names[group], seed, deal)))
        parts = _deal(shares[order], wanted)
        _improve(shares[order], wanted, parts)
        loss = float((_missing(shares[order], wanted, parts) ** 2).sum())
        if loss < best_loss - _SMALLEST_GAIN:
            best_loss = loss
            best[order] = parts
    if len(amounts) <= _FEW_GROUPS:
        _exchange(shares, wanted, best)
    return best


def _lot(name: str, seed: int, deal: int) -> bytes:
    """A number drawn by a hash, the same on every machine and in every order of the tiles."""
    return hashlib.blake2b(f"{seed} {deal} {name}".encode(), digest_size=16).digest()


def _missing(shares: Shares, wanted: Shares, parts: NDArray[np.int64]) -> Shares:
    """(parts, columns): the share that is still wanted, negative where there is too much."""
    held = np.zeros((len(wanted), shares.shape[1]))
    np.add.at(held, parts, shares)
    return wanted[:, None] - held


def _deal(shares: Shares, wanted: Shares) -> NDArray[np.int64]:
    """The column that the fewest groups have comes first; each group goes to the part that lacks it most."""
    parts = np.full(len(shares), -1, np.int64)
    missing = np.repeat(wanted[:, None], shares.shape[1], axis=1)
    holders = [np.flatnonzero(column) for column in shares.T]
    while (parts < 0).any():
        open_holders = [found[parts[found] < 0] for found in holders]
        column = min((len(found), number) for number, found in enumerate(open_holders) if len(found))[1]
        for group in open_holders[column]:
            # Of parts that lack as much, the one that lacks most of all.
            lacks = np.round(missing[:, column], 12)
            part = max(range(len(wanted)), key=lambda p: (lacks[p], missing[p].sum(), -p))
            parts[group] = part
            missing[part] -= shares[group]
    return parts


def _improve(shares: Shares, wanted: Shares, parts: NDArray[np.int64]) -> None:
    """Moves one group at a time, always the one that helps most; first of all into parts that have none."""
    missing = _missing(shares, wanted, parts)
    sizes = np.bincount(parts, minlength=len(wanted))
    own = 2 * (shares**2).sum(axis=1)
    for _ in range(_MOST_MOVES):
        along = shares @ missing.T  # (groups, parts)
        gains = 2 * (along - np.take_along_axis(along, parts[:, None], axis=1)) - own[:, None]
        np.put_along_axis(gains, parts[:, None], -np.inf, axis=1)
        gains[sizes[parts] == 1] = -np.inf
        if (sizes == 0).any():
            gains[:, sizes > 0] = -np.inf
        group, part = np.unravel_index(np.argmax(np.round(gains, 12)), gains.shape)
        if gains[group, part] < _SMALLEST_GAIN and (sizes > 0).all():
            return
        missing[parts[group]] += shares[group]
        missing[part] -= shares[group]
        sizes[parts[group]] -= 1
        sizes[part] += 1
        parts[group] = part


def _exchange(shares: Shares, wanted: Shares, parts: NDArray[np.int64]) -> None:
    """Exchanges two groups of different parts at a time, always those that help most."""
    missing = _missing(shares, wanted, parts)
    squares = (shares**2).sum(axis=1)
    apart = squares[:, None] + squares - 2 * shares @ shares.T
    for _ in range(_MOST_EXCHANGES):
        along = (shares @ missing.T)[:, parts]  # (groups, groups): what the part of the other gains from one
        own = np.diag(along)
        gains = 2 * (along + along.T - own[:, None] - own - apart)
        first, second = np.unravel_index(np.argmax(np.round(gains, 12)), gains.shape)
        if gains[first, second] < _SMALLEST_GAIN:
            return
        difference = shares[second] - shares[first]
        missing[parts[first]] -= difference
        missing[parts[second]] += difference
        parts[first], parts[second] = parts[second], parts[first]
