namespace ModelGen.Compiler;

// Value for value as the runtime declares it.
internal enum CacheFormat
{
    F32,
    F16,
    Q8_0,
}
