"""Instructions of the processor that Numba has no name for.

Rows of a table are visited in no order that a processor could guess, and what another core has
just changed takes some hundred cycles to arrive: a loop that knows which rows come next asks for
them some turns ahead (:func:`prefetch`), and does not wait. Threads that share out tasks agree on
who does which without a lock (:func:`take`). Short loops, which the compiler would unroll into
single numbers, or whose length the processor would have to guess, are one vector: over the users of
a group (:func:`dot_lanes`), and over the weights of a row (:func:`step_row`).
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
_INT = ir.IntType(32)
_FLOATS = ir.VectorType(ir.FloatType(), LANES)


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


def _lanes_at(context, builder, array, value, index):
    """Address of LANES elements of a contiguous float32 array of one dimension."""
    pointer = _pointer(context, builder, array, value, index)
    return builder.bitcast(pointer, _FLOATS.as_pointer())


def _spread(builder, value):
    """Make a vector of one number."""
    kind = ir.VectorType(value.type, LANES)
    nothing = ir.Constant(kind, ir.Undefined)
    first_lane = builder.insert_element(nothing, value, _INT(0))
    each = ir.Constant(ir.VectorType(_INT, LANES), None)
    return builder.shuffle_vector(first_lane, nothing, each)


def _dot_lanes(typingctx, values, dims, first, last, lanes, out, row):
    """Put into ``out[row]`` the sum of ``values[e] * lanes[dims[e]]``, e from first to last - 1.

    The order of adding is that of e in each lane. ``lanes`` and ``out`` are C-contiguous float32
    arrays of shape [n, LANES].
    """

    def codegen(context, builder, signature, args):
        whole = args[2].type

        def element(array, index):
            return _pointer(context, builder, signature.args[array], args[array], index)

        def line(array, index):
            index = builder.mul(index, whole(LANES))
            return _lanes_at(context, builder, signature.args[array], args[array], index)

        total = cgutils.alloca_once_value(builder, ir.Constant(_FLOATS, None))
        with cgutils.for_range_slice(builder, args[2], args[3], whole(1), whole) as (e, _):
            value = builder.load(element(0, e))
            user_values = builder.load(
                line(4, builder.zext(builder.load(element(1, e)), whole)), align=4
            )
            product = builder.fmul(_spread(builder, value), user_values)
            builder.store(builder.fadd(builder.load(total), product), total)
        builder.store(builder.load(total), line(5, args[6]), align=4)
        return context.get_dummy_value()

    places = types.intp, types.intp
    return types.void(values, dims, *places, lanes, out, types.intp), codegen


dot_lanes: Any = intrinsic(_dot_lanes)


def _step_row(typingctx, values, squares, first, last, gradient, start, rate, reg):
    """Make the Adagrad steps of the weights ``first`` to ``last - 1`` of a table.

    ``g = gradient[start + e - first] + reg * values[e]`` is the gradient of weight e; then
    ``squares[e] += g^2`` and ``values[e] -= rate * g / sqrt(squares[e])``. All arrays are float32.
    Nothing beyond the row is read or written.
    """

    def codegen(context, builder, signature, args):
        whole = args[2].type
        mask_type = ir.VectorType(ir.IntType(1), LANES)
        places = _FLOATS.as_pointer()

        def named(name, result, *kinds):
            function = ir.FunctionType(result, kinds)
            return cgutils.get_or_insert_function(builder.module, function, f"llvm.{name}")

        kind = f"v{LANES}f32"
        masked = f"{kind}.p0{kind}"
        load = named(f"masked.load.{masked}", _FLOATS, places, _INT, mask_type, _FLOATS)
        store = named(f"masked.store.{masked}", ir.VoidType(), _FLOATS, places, _INT, mask_type)
        root = named(f"sqrt.{kind}", _FLOATS, _FLOATS)
        numbers = ir.Constant(ir.VectorType(whole, LANES), list(range(LANES)))
        ones = ir.Constant(_FLOATS, [1.0] * LANES)  # in lanes beyond the row: a root of 0 is slow
        align = _INT(4)

        def line(array, index):
            return _lanes_at(context, builder, signature.args[array], args[array], index)

        with cgutils.for_range_slice(builder, args[2], args[3], whole(LANES), whole) as (e, _):
            left = _spread(builder, builder.sub(args[3], e))
            mask = builder.icmp_unsigned("<", numbers, left)

            def read(array, index, mask=mask):
                return builder.call(load, [line(array, index), align, mask, ones])

            value, square = read(0, e), read(1, e)
            g = read(4, builder.add(args[5], builder.sub(e, args[2])))
            g = builder.fadd(g, builder.fmul(_spread(builder, args[7]), value))
            square = builder.fadd(square, builder.fmul(g, g))
            step = builder.fmul(_spread(builder, args[6]), g)
            value = builder.fsub(value, builder.fdiv(step, builder.call(root, [square])))
            builder.call(store, [square, line(1, e), align, mask])
            builder.call(store, [value, line(0, e), align, mask])
        return context.get_dummy_value()

    row, scalars = (types.intp, types.intp), (types.float32, types.float32)
    return types.void(values, squares, *row, gradient, types.intp, *scalars), codegen


step_row: Any = intrinsic(_step_row)
