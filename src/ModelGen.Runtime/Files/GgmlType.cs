namespace ModelGen;

/// <summary>How a GGUF file stores the elements of a tensor. The numbers are those of the format.</summary>
public enum GgmlType
{
    /// <summary>32-bit floats.</summary>
    F32 = 0,

    /// <summary>16-bit floats, IEEE 754 binary16.</summary>
    F16 = 1,

    /// <summary>Blocks of 32 with a scale; 4 bits each, 4.5 with the scale.</summary>
    Q4_0 = 2,

    /// <summary>Blocks of 32 with a scale and a minimum; 4 bits each, 5 in all.</summary>
    Q4_1 = 3,

    /// <summary>Blocks of 32 with a scale; 5 bits each, 5.5 in all.</summary>
    Q5_0 = 6,

    /// <summary>Blocks of 32 with a scale and a minimum; 5 bits each, 6 in all.</summary>
    Q5_1 = 7,

    /// <summary>Blocks of 32 with a scale; 8 bits each, 8.5 in all.</summary>
    Q8_0 = 8,

    /// <summary>Blocks of 256 in 16 groups, each with a scale and a minimum of 4 bits; 2 bits each, 2.625 in all.</summary>
    Q2_K = 10,

    /// <summary>Blocks of 256 in 16 groups, each with a scale of 6 bits; 3 bits each, 3.4375 in all.</summary>
    Q3_K = 11,

    /// <summary>Blocks of 256 in 8 groups, each with a scale and a minimum of 6 bits; 4 bits each, 4.5 in all.</summary>
    Q4_K = 12,

    /// <summary>Blocks of 256 in 8 groups, each with a scale and a minimum of 6 bits; 5 bits each, 5.5 in all.</summary>
    Q5_K = 13,

    /// <summary>Blocks of 256 in 16 groups, each with a scale of 8 bits; 6 bits each, 6.5625 in all.</summary>
    Q6_K = 14,

    /// <summary>Blocks of 32 with a scale; 4 bits each, which choose from a table.</summary>
    IQ4_NL = 20,

    /// <summary>8-bit integers.</summary>
    I8 = 24,

    /// <summary>16-bit integers.</summary>
    I16 = 25,

    /// <summary>32-bit integers.</summary>
    I32 = 26,

    /// <summary>64-bit integers.</summary>
    I64 = 27,

    /// <summary>64-bit floats.</summary>
    F64 = 28,

    /// <summary>16-bit floats, the upper half of binary32.</summary>
    BF16 = 30,

    /// <summary>Blocks of 32 with a power of two for a scale; 4-bit floats (OCP microscaling).</summary>
    MXFP4 = 39,
}
