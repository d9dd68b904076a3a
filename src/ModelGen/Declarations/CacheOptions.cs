using System.Globalization;
using Microsoft.CodeAnalysis.Diagnostics;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Declarations;

/// <summary>The cache sizes that a project asks for; the package's targets check that they are numbers.</summary>
internal static class CacheOptions
{
    private const int LargestKilobytes = 1 << 20;

    public static CacheSizes Read(AnalyzerConfigOptions options) => new(
        Bytes(options, "build_property.ModelGenL1CacheKilobytes", CacheSizes.Default.L1),
        Bytes(options, "build_property.ModelGenL2CacheKilobytes", CacheSizes.Default.L2),
        Bytes(options, "build_property.ModelGenL3CacheKilobytes", CacheSizes.Default.L3));

    private static int Bytes(AnalyzerConfigOptions options, string name, int otherwise)
        => options.TryGetValue(name, out string? text) && int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int kilobytes) && kilobytes is > 0 and < LargestKilobytes
            ? kilobytes << 10
            : otherwise;
}
