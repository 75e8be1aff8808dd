"""Instructions of the processor that Numba has no name for.

Rows of a table are visited in no order that a processor could guess, and what another core has
just changed takes some hundred cycles to arrive: a loop that knows which rows come next asks for
them some turns ahead (:func:`prefetch`), and does not wait. Threads share out tasks without a lock
(:func:`claim`) and wait for each other at a :func:`barrier`. Short loops, which the compiler would
unroll into single numbers, or whose length the processor would have to guess, are one vector: over
the users of a group (:func:`dot_lanes`), and over the weights of a row (:func:`step_row`). No
vector is stored under a mask: some processors take as long for that as for all the rest, others
cannot do it at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sparserec_np.training.kernels.arrays import WIDTH
from sparserec_np.utils.compiled import inline, kernel
from sparserec_np.utils.parallel import LANES

_SPINS = 200  # looks at a barrier before the core is offered to another thread
_ALL_CACHES, _DATA = 3, 1
_INT = ir.IntType(32)
_WIDTH = np.uint64(WIDTH)


def _pointer(context, builder, array, value, index):
    """Address of an element of a contiguous array of one dimension."""
    return builder.gep(context.make_array(array)(context, builder, value).data, [index])


def _prefetch(for_writing: int) -> Any:
    @intrinsic
    def prefetch(typingctx, array, index):
        """Ask for the cache line of ``array[index]``; nothing is checked."""

        def codegen(context, builder, signature, args):
            whole, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
            ask = builder.module.declare_intrinsic(
                "llvm.prefetch", fnty=ir.FunctionType(ir.VoidType(), [pointer, *[whole] * 3])
            )
            place = builder.bitcast(_pointer(context, builder, array, *args), pointer)
            builder.call(ask, [place, *map(whole, (for_writing, _ALL_CACHES, _DATA))])
            return context.get_dummy_value()

        return types.void(array, types.intp), codegen

    return prefetch


prefetch = _prefetch(for_writing=0)
prefetch_to_write = _prefetch(for_writing=1)


def _claim(typingctx, taken, task):
    """Claim a task: return whether no other thread had; ``taken[task]``, int64, is 0 until then."""

    def codegen(context, builder, signature, args):
        one = ir.IntType(64)(1)
        place = _pointer(context, builder, taken, *args)
        before = builder.atomic_rmw("xchg", place, one, "monotonic")
        return builder.icmp_unsigned("==", before, one.type(0))

    return types.boolean(taken, types.intp), codegen


claim: Any = intrinsic(_claim)


@inline
def task_at(turn, seat, n_seats, n_tasks):
    """Return the task that a thread looks at in its ``turn``; each thread begins elsewhere."""
    return (seat * n_tasks // n_seats + turn) % n_tasks


def _arrive(typingctx, arrivals):
    """Add 1 to ``arrivals[0]``, int64; all that was written before is seen by who sees that."""

    def codegen(context, builder, signature, args):
        word = ir.IntType(64)
        place = _pointer(context, builder, arrivals, args[0], context.get_constant(types.intp, 0))
        builder.atomic_rmw("add", place, word(1), "acq_rel")
        return context.get_dummy_value()

    return types.void(arrivals), codegen


def _arrived(typingctx, arrivals):
    """Read ``arrivals[0]``, and after it what was written before it was."""

    def codegen(context, builder, signature, args):
        place = _pointer(context, builder, arrivals, args[0], context.get_constant(types.intp, 0))
        return builder.load_atomic(place, "acquire", 8)

    return types.int64(arrivals), codegen


def _offer_core(typingctx):
    """Let another thread have this core, if one waits for it: POSIX ``sched_yield``."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(_INT, [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), codegen


arrive: Any = intrinsic(_arrive)
arrived: Any = intrinsic(_arrived)
offer_core: Any = intrinsic(_offer_core)


@kernel
def barrier(arrivals, expected):
    """Wait until as many threads have come here as are expected in all, those of before included.

    Args:
        arrivals: int64 array of shape [1]: 0 before the first barrier.
        expected: Number of threads times the number of barriers up to this one.
    """
    arrive(arrivals)
    looks = 0
    while arrived(arrivals) < expected:
        looks += 1
        if looks > _SPINS:
            offer_core()


def _vector_at(context, builder, array, value, index, kind):
    """Address of a vector of elements of a contiguous array of one dimension."""
    return builder.bitcast(_pointer(context, builder, array, value, index), kind.as_pointer())


def _spread(builder, value, count):
    """Make a vector of one number."""
    nothing = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
    first_lane = builder.insert_element(nothing, value, _INT(0))
    each = ir.Constant(ir.VectorType(_INT, count), None)
    return builder.shuffle_vector(first_lane, nothing, each)


def _dot_lanes(typingctx, values, dims, first, last, lanes, out, row):
    """Put into ``out[row]`` the sum of ``values[e] * lanes[dims[e]]``, e from first to last - 1.

    The order of adding is that of e in each lane. ``lanes`` and ``out`` are C-contiguous float32
    arrays of shape [n, LANES].
    """

    def codegen(context, builder, signature, args):
        whole, lanes = args[2].type, ir.VectorType(ir.FloatType(), LANES)

        def element(array, index):
            return _pointer(context, builder, signature.args[array], args[array], index)

        def line(array, index):
            index = builder.mul(index, whole(LANES))
            return _vector_at(context, builder, signature.args[array], args[array], index, lanes)

        total = cgutils.alloca_once_value(builder, ir.Constant(lanes, None))
        with cgutils.for_range_slice(builder, args[2], args[3], whole(1), whole) as (e, _):
            value = builder.load(element(0, e))
            user_values = builder.load(
                line(4, builder.zext(builder.load(element(1, e)), whole)), align=4
            )
            product = builder.fmul(_spread(builder, value, LANES), user_values)
            builder.store(builder.fadd(builder.load(total), product), total)
        builder.store(builder.load(total), line(5, args[6]), align=4)
        return context.get_dummy_value()

    places = types.intp, types.intp
    return types.void(values, dims, *places, lanes, out, types.intp), codegen


dot_lanes: Any = intrinsic(_dot_lanes)


def _step_vector(typingctx, values, squares, at, left, gradient, start, rate, reg):
    """Make the Adagrad steps of the weights from ``at`` on: of ``left``, but at most ``WIDTH``.

    All ``WIDTH`` weights are read and written, those that are not to be changed as they were; as
    many gradients are read.
    """

    def codegen(context, builder, signature, args):
        vector = ir.VectorType(ir.FloatType(), WIDTH)

        def line(array, index):
            return _vector_at(context, builder, signature.args[array], args[array], index, vector)

        root = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector]), f"llvm.sqrt.v{WIDTH}f32"
        )
        numbers = ir.Constant(ir.VectorType(_INT, WIDTH), list(range(WIDTH)))
        count = _spread(builder, builder.trunc(args[3], _INT), WIDTH)
        value = builder.load(line(0, args[2]), align=4)
        square = builder.load(line(1, args[2]), align=4)
        g = builder.load(line(4, args[5]), align=4)
        g = builder.fadd(g, builder.fmul(_spread(builder, args[7], WIDTH), value))
        # A gradient of 0 changes nothing. (LLVM would make a masked store of a chosen result.)
        g = builder.select(builder.icmp_unsigned("<", numbers, count), g, ir.Constant(vector, None))
        square = builder.fadd(square, builder.fmul(g, g))
        step = builder.fmul(_spread(builder, args[6], WIDTH), g)
        value = builder.fsub(value, builder.fdiv(step, builder.call(root, [square])))
        builder.store(square, line(1, args[2]), align=4)
        builder.store(value, line(0, args[2]), align=4)
        return context.get_dummy_value()

    row, scalars = (types.intp, types.intp), (types.float32, types.float32)
    return types.void(values, squares, *row, gradient, types.intp, *scalars), codegen


step_vector: Any = intrinsic(_step_vector)


@inline
def step_row(values, squares, first, last, limit, gradient, start, rate, reg):
    """Make the Adagrad steps of the weights ``first`` to ``last - 1`` of a table.

    ``g = gradient[start + e - first] + reg * values[e]`` is the gradient of weight e; then
    ``squares[e] += g^2`` and ``values[e] -= rate * g / sqrt(squares[e])``.

    Args:
        values: float32 array.
        squares: Adagrad's sums, all above 0, float32 array.
        first: First weight, as the other places unsigned.
        last: One past the last weight.
        limit: Up to here no other thread reads or writes; at least ``last``.
        gradient: float32 array, with ``WIDTH`` numbers more than are needed if limit > last.
        start: Where the gradients of the row begin.
        rate: Learning rate, float32.
        reg: L2 penalty, float32.
    """
    e = first
    while e < last and e + _WIDTH <= limit:
        step_vector(values, squares, e, last - e, gradient, start + (e - first), rate, reg)
        e += _WIDTH
    while e < last:
        g = gradient[start + (e - first)] + reg * values[e]
        squares[e] += g * g
        values[e] -= rate * g / np.sqrt(squares[e])
        e += np.uint64(1)
