namespace ModelGen.Runtime;

/// <summary>One trainer's use of an optimizer: what all ranges of a step share is computed once, before the workers begin.</summary>
/// <param name="optimizer">The optimizer.</param>
internal class OptimizerUpdate(Optimizer optimizer)
{
    /// <summary>Begins a step, on one thread.</summary>
    /// <param name="step">The number of the step, from 1 on.</param>
    /// <param name="learningRate">The step's learning rate.</param>
    public virtual void Begin(long step, float learningRate)
    {
    }

    /// <summary>This step's numbers as the device's kernel wants them (<see cref="Optimizer.DeviceKernel"/>).</summary>
    /// <param name="decays">Whether those for parameters that weight decay applies to.</param>
    /// <param name="coefficients">Receives them.</param>
    public virtual void WriteCoefficients(bool decays, Span<float> coefficients) => throw new NotSupportedException($"{optimizer.Name} has no kernel for devices.");

    /// <summary>Updates a range, on any thread.</summary>
    /// <param name="range">The range.</param>
    public virtual void Update(in OptimizerRange range) => optimizer.Update(in range);

    /// <summary>Updates a range, and sums the squares of its gradients as they are before scaling.</summary>
    /// <param name="range">The range.</param>
    /// <returns>What <see cref="GradientMath.SumOfSquares"/> returns for the gradients, to the bit.</returns>
    public virtual double UpdateAndSum(in OptimizerRange range)
    {
        double sum = GradientMath.SumOfSquares(range.Gradients);
        optimizer.Update(in range);
        return sum;
    }
}
