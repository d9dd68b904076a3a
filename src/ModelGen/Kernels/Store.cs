namespace ModelGen.Compiler.Kernels;

/// <summary>How a stored element meets what is there already.</summary>
internal enum StoreMode
{
    /// <summary>It takes its place.</summary>
    Replace,

    /// <summary>It is added when the run accumulates gradients, and takes its place otherwise.</summary>
    AddWhenAccumulating,

    /// <summary>It is added.</summary>
    Add,
}

/// <summary>A store of one expression's value for every element (or every row, for a row-scalar operand).</summary>
internal sealed record Store(int Operand, Expr Value, StoreMode Mode);
