"""Instructions of the processor that Numba has no name for.

Rows of a table are visited in no order that a processor could guess, and what another core has
just changed takes some hundred cycles to arrive: a loop that knows which rows come next asks for
them some turns ahead (:func:`prefetch`), and does not wait. Threads that share out tasks agree on
who does which without a lock (:func:`take`). A short loop over the users of a group, which the
compiler unrolls into single numbers, is one vector (:func:`dot_lanes`).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from sparserec_np.state import LANES

SEATS = 16  # where threads may begin to look for tasks

_ALL_CACHES, _DATA = 3, 1


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


def _take(typingctx, tasks, task):
    """Take a task, unless another thread has: ``tasks[task]``, an int64, is 0 until then."""

    def codegen(context, builder, signature, args):
        one = ir.IntType(64)(1)
        place = _pointer(context, builder, tasks, *args)
        before = builder.atomic_rmw("xchg", place, one, "monotonic")
        return builder.icmp_unsigned("==", before, one.type(0))

    return types.boolean(tasks, types.intp), codegen


take: Any = intrinsic(_take)


@njit(error_model="numpy", cache=True, nogil=True, inline="always")
def task_of(seat, turn, n_tasks):
    """Task that a seat comes to at a turn; each begins at a place of its own."""
    return (seat * n_tasks // SEATS + turn) % n_tasks


def _dot_lanes(typingctx, values, dims, first, last, lanes, out, row):
    """Put into ``out[row]`` the sum of ``values[e] * lanes[dims[e]]``, e from first to last - 1.

    The order of adding is that of e in each lane. ``lanes`` and ``out`` are C-contiguous float32
    arrays of shape [n, LANES].
    """

    def codegen(context, builder, signature, args):
        vector = ir.VectorType(ir.FloatType(), LANES)
        whole = args[2].type

        def element(array, index):
            return _pointer(context, builder, signature.args[array], args[array], index)

        def line(array, index):
            at = element(array, builder.mul(index, whole(LANES)))
            return builder.bitcast(at, vector.as_pointer())

        total = cgutils.alloca_once_value(builder, ir.Constant(vector, None))
        with cgutils.for_range_slice(builder, args[2], args[3], whole(1), whole) as (e, _):
            value = builder.load(element(0, e))
            user_values = builder.load(
                line(4, builder.zext(builder.load(element(1, e)), whole)), align=4
            )
            nothing = ir.Constant(vector, ir.Undefined)
            first_lane = builder.insert_element(nothing, value, ir.IntType(32)(0))
            each = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
            spread = builder.shuffle_vector(first_lane, nothing, each)
            product = builder.fmul(spread, user_values)
            builder.store(builder.fadd(builder.load(total), product), total)
        builder.store(builder.load(total), line(5, args[6]), align=4)
        return context.get_dummy_value()

    places = types.intp, types.intp
    return types.void(values, dims, *places, lanes, out, types.intp), codegen


dot_lanes: Any = intrinsic(_dot_lanes)
