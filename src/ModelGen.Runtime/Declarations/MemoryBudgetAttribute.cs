namespace ModelGen;

/// <summary>
/// Upper limits on the memory that a declared model may need. The compiler knows the exact figures and reports an error on the
/// argument that is exceeded.
/// </summary>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class MemoryBudgetAttribute : Attribute
{
    /// <summary>The most bytes for weights and one session's arena and key/value cache. Default: 0, no limit.</summary>
    public long InferenceBytes { get; set; }

    /// <summary>
    /// The most bytes for weights, gradients and the training arena (an optimizer's slots depend on the optimizer and come on top).
    /// Default: 0, no limit.
    /// </summary>
    public long TrainingBytes { get; set; }
}
