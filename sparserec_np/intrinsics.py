"""Two instructions of the processor that Numba has no name for.

Rows of a table are visited in no order that a processor could guess, and what another core has
just changed takes some hundred cycles to arrive: a loop that knows which rows come next asks for
them some turns ahead (:func:`prefetch`), and does not wait. Threads that share out tasks agree on
who does which without a lock (:func:`take`).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

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
