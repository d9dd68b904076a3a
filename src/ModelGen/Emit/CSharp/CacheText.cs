using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>How rows of caches that are not single precision are spelled: their addresses count bytes, and they are rounded when they are written and widened where they are read.</summary>
internal static class CacheText
{
    /// <summary>Whether an operand's rows are rounded.</summary>
    public static bool IsRounded(KernelOperand operand) => !operand.Access.Format.IsPlain;

    /// <summary>What is added to an operand's pointer for a row so many elements further on: its bytes, or elements of single precision.</summary>
    public static string Step(KernelOperand operand, long elements) => CodeWriter.Number(IsRounded(operand) ? operand.Access.Format.Distance(elements) : elements);

    /// <summary>A statement that rounds a row and stores it.</summary>
    public static string Store(KernelOperand state, string source, int columns, string target) => $"CacheRows.Store{state.Access.Format}({source}, {columns}, {target});";

    /// <summary>A statement that copies a row into a state, rounded where that is.</summary>
    public static string Copy(KernelOperand state, string source, int columns, string target)
        => IsRounded(state) ? Store(state, source, columns, target)
            : $"new global::System.ReadOnlySpan<float>({source}, {columns}).CopyTo(new global::System.Span<float>({target}, {columns}));";

    /// <summary>A statement that widens some columns of some rows.</summary>
    /// <param name="cache">The operand.</param>
    /// <param name="rows">The address of the first row.</param>
    /// <param name="count">How many rows.</param>
    /// <param name="first">The first of the columns.</param>
    /// <param name="columns">How many columns.</param>
    /// <param name="target">Where they go.</param>
    /// <param name="targetStride">Elements from one row to the next there.</param>
    public static string Load(KernelOperand cache, string rows, string count, string first, string columns, string target, string targetStride)
        => $"CacheRows.Load{cache.Access.Format}<V>({rows}, {Step(cache, cache.Access.RowStride)}, {cache.Access.RowStride}, {count}, {first}, {columns}, {target}, {targetStride});";
}
