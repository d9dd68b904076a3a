using System.Collections.Immutable;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>The element type of a tensor in a safetensors file.</summary>
public enum SafetensorsType
{
    /// <summary>8-bit truth value.</summary>
    Bool,

    /// <summary>8-bit unsigned integer.</summary>
    U8,

    /// <summary>8-bit signed integer.</summary>
    I8,

    /// <summary>8-bit floating point, 5 exponent and 2 fraction bits.</summary>
    F8E5M2,

    /// <summary>8-bit floating point, 4 exponent and 3 fraction bits.</summary>
    F8E4M3,

    /// <summary>16-bit signed integer.</summary>
    I16,

    /// <summary>16-bit unsigned integer.</summary>
    U16,

    /// <summary>16-bit floating point, IEEE 754 binary16.</summary>
    F16,

    /// <summary>16-bit floating point, the upper half of binary32.</summary>
    BF16,

    /// <summary>32-bit signed integer.</summary>
    I32,

    /// <summary>32-bit unsigned integer.</summary>
    U32,

    /// <summary>32-bit floating point, IEEE 754 binary32.</summary>
    F32,

    /// <summary>64-bit floating point, IEEE 754 binary64.</summary>
    F64,

    /// <summary>64-bit signed integer.</summary>
    I64,

    /// <summary>64-bit unsigned integer.</summary>
    U64,
}

/// <summary>One tensor of a safetensors file.</summary>
/// <param name="Name">The tensor's name.</param>
/// <param name="Type">The element type.</param>
/// <param name="Shape">The extents, row-major; none for a scalar.</param>
/// <param name="Offset">Where the elements start, in bytes from the end of the header.</param>
/// <param name="ByteLength">The length of the elements in bytes.</param>
public sealed record SafetensorsTensor(string Name, SafetensorsType Type, ImmutableArray<long> Shape, long Offset, long ByteLength)
    : WeightTensor(Name, Shape, ByteLength)
{
    /// <inheritdoc/>
    public override string TypeName => SafetensorsFormat.NameOf(Type);

    /// <inheritdoc/>
    public override long Length => ByteLength / SafetensorsFormat.SizeOf(Type);

    /// <summary>Whether the elements are floating-point numbers that can be read as such.</summary>
    public override bool IsFloat => Elements.IsFloat(Type);
}
