namespace ModelGen.Compiler;

// Value for value as the runtime declares it.
internal enum WeightFormat
{
    F32,
    F16,
    BF16,
    Q8_0,
    Q4_0,
    Q4_K,
    Q6_K,
    Q4_1,
    Q5_0,
    Q5_1,
    IQ4_NL,
    MXFP4,
    Q5_K,
}
