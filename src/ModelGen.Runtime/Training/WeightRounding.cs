namespace ModelGen;

/// <summary>How a trainer rounds its master copy of weights to the format in which they lie in memory.</summary>
public enum WeightRounding
{
    /// <summary>To the nearest number, and between two to the even one.</summary>
    Nearest,

    /// <summary>
    /// Up or down at random, the likelier the nearer (Gupta et al., "Deep Learning with Limited Numerical Precision", 2015): what is lost of many small changes is zero on average. The random bits
    /// follow from the trainer's seed, the step and the place, and so do not depend on the number of threads.
    /// </summary>
    Stochastic,
}
