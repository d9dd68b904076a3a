namespace ModelGen;

/// <summary>How the keys and values that sessions remember lie in memory. What is computed with them is single precision.</summary>
public enum CacheFormat
{
    /// <summary>Single precision.</summary>
    F32,

    /// <summary>16-bit floats of IEEE 754 (binary16), rounded to the nearest; half the memory.</summary>
    F16,

    /// <summary>
    /// Blocks of 32 numbers of 8 bits with a scale of single precision, the largest magnitude of the block over 127: 9 bits a number. Heads are 32 numbers wide, or a multiple of that.
    /// </summary>
    Q8_0,
}
