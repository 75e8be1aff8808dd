"""Ask for memory before it is needed.

Rows of a table are visited in no order that the processor could guess, and what another core has
just changed takes some hundred cycles to arrive. A compiled loop that knows which rows come next
asks for them some turns ahead, and does not wait.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_ALL_CACHES, _DATA = 3, 1


def _asking(for_writing: int):
    @intrinsic
    def prefetch(typingctx, array, index):
        """Ask for the cache line of ``array[index]``, of one dimension; nothing is checked."""

        def codegen(context, builder, signature, args):
            pointer = ir.IntType(8).as_pointer()
            whole = ir.IntType(32)
            ask = builder.module.declare_intrinsic(
                "llvm.prefetch", fnty=ir.FunctionType(ir.VoidType(), (pointer, whole, whole, whole))
            )
            data = context.make_array(array)(context, builder, args[0]).data
            place = builder.bitcast(builder.gep(data, [args[1]]), pointer)
            builder.call(ask, [place, *(whole(how) for how in (for_writing, _ALL_CACHES, _DATA))])
            return context.get_dummy_value()

        return types.void(array, types.intp), codegen

    return prefetch


prefetch = _asking(0)
prefetch_to_write = _asking(1)
