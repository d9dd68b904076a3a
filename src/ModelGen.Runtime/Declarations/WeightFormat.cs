namespace ModelGen;

/// <summary>How a parameter lies in memory while a model runs, and in what kernels read it. What computes is single precision, or, with quantized weights, sums of integer products.</summary>
public enum WeightFormat
{
    /// <summary>Single precision.</summary>
    F32,

    /// <summary>16-bit floats of IEEE 754 (binary16); what is computed with them is single precision.</summary>
    F16,

    /// <summary>The upper half of single precision; what is computed with them is single precision.</summary>
    BF16,

    /// <summary>
    /// GGUF's blocks of 32 numbers of 8 bits with a scale, 8.5 bits a weight. The inputs of products are rounded to 8 bits as well, in blocks of 32 with a scale of single
    /// precision: by at most a 254th of the largest of a block. Matrices whose rows are no whole blocks stay <see cref="F32"/>.
    /// </summary>
    Q8_0,

    /// <summary>GGUF's blocks of 32 numbers of 4 bits with a scale, 4.5 bits a weight; inputs as with <see cref="Q8_0"/>. Matrices whose rows are no whole blocks stay <see cref="F32"/>.</summary>
    Q4_0,

    /// <summary>
    /// GGUF's blocks of 256 numbers of 4 bits, in eighths with a scale and a minimum each, 4.5 bits a weight (4.625 in memory); inputs as with <see cref="Q8_0"/>. Matrices whose rows are no
    /// whole blocks are <see cref="Q8_0"/>, or <see cref="F32"/>.
    /// </summary>
    Q4_K,

    /// <summary>
    /// GGUF's blocks of 256 numbers of 6 bits, in sixteenths with a scale each, 6.5625 bits a weight (6.625 in memory); inputs as with <see cref="Q8_0"/>. Matrices whose rows are no whole
    /// blocks are <see cref="Q8_0"/>, or <see cref="F32"/>.
    /// </summary>
    Q6_K,

    /// <summary>GGUF's blocks of 32 numbers of 4 bits with a scale and a minimum, 5 bits a weight; inputs as with <see cref="Q8_0"/>. Matrices whose rows are no whole blocks stay <see cref="F32"/>.</summary>
    Q4_1,

    /// <summary>GGUF's blocks of 32 numbers of 5 bits with a scale, 5.5 bits a weight; inputs as with <see cref="Q8_0"/>. Matrices whose rows are no whole blocks stay <see cref="F32"/>.</summary>
    Q5_0,

    /// <summary>GGUF's blocks of 32 numbers of 5 bits with a scale and a minimum, 6 bits a weight; inputs as with <see cref="Q8_0"/>. Matrices whose rows are no whole blocks stay <see cref="F32"/>.</summary>
    Q5_1,

    /// <summary>
    /// GGUF's blocks of 32 numbers of 4 bits, which choose from a table of 16 that lie closer together around zero, with a scale, 4.5 bits a weight; inputs as with <see cref="Q8_0"/>. Matrices whose rows are no
    /// whole blocks stay <see cref="F32"/>.
    /// </summary>
    IQ4_NL,

    /// <summary>
    /// Blocks of 32 floats of 4 bits (E2M1) with a power of two for a scale (OCP Microscaling Formats 1.0), 4.25 bits a weight (4.5 in memory); inputs as with <see cref="Q8_0"/>. Matrices whose rows are no whole
    /// blocks stay <see cref="F32"/>.
    /// </summary>
    MXFP4,

    /// <summary>
    /// GGUF's blocks of 256 numbers of 5 bits, in eighths with a scale and a minimum each, 5.5 bits a weight (5.625 in memory); inputs as with <see cref="Q8_0"/>. Matrices whose rows are no
    /// whole blocks are <see cref="Q8_0"/>, or <see cref="F32"/>.
    /// </summary>
    Q5_K,
}
