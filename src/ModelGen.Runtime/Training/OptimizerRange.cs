namespace ModelGen.Runtime;

/// <summary>What an <see cref="Optimizer"/> updates in one call: a contiguous range of one parameter.</summary>
public readonly unsafe ref struct OptimizerRange
{
    private readonly float* _weights;
    private readonly float* _gradients;
    private readonly float* _slots;
    private readonly long _slotStride;

    internal OptimizerRange(float* weights, float* gradients, float* slots, long slotStride, int length)
    {
        _weights = weights;
        _gradients = gradients;
        Length = length;
        _slots = slots;
        _slotStride = slotStride;
    }

    /// <summary>The weights, to be updated in place.</summary>
    public Span<float> Weights => new(_weights, Length);

    /// <summary>The gradients before clipping, as many as weights.</summary>
    public ReadOnlySpan<float> Gradients => new(_gradients, Length);

    /// <summary>What every gradient is to be multiplied with first: the clipping factor, at most 1.</summary>
    public float GradientScale { get; internal init; }

    /// <summary>The number of this step, from 1 on.</summary>
    public long Step { get; internal init; }

    /// <summary>The learning rate of this step.</summary>
    public float LearningRate { get; internal init; }

    /// <summary>Whether weight decay applies to this parameter.</summary>
    public bool WeightDecay { get; internal init; }

    /// <summary>The weight decay of the parameter's group; null for the optimizer's.</summary>
    public float? GroupWeightDecay { get; internal init; }

    /// <summary>What the optimizer remembers for these weights, as many elements as weights.</summary>
    /// <param name="slot">The index of the slot in <see cref="Optimizer.Slots"/>.</param>
    public Span<float> Slot(int slot)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(slot);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(slot, SlotCount);
        return new(SlotPointer(slot), Length);
    }

    internal int SlotCount { get; init; }

    internal int Length { get; }

    internal float* WeightPointer => _weights;

    internal float* GradientPointer => _gradients;

    internal float* SlotPointer(int slot) => _slots + (slot * _slotStride);
}
