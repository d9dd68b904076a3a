using System.Diagnostics.CodeAnalysis;

namespace ModelGen.Runtime;

/// <summary>
/// The formats that <see cref="WeightFile.Open"/> reads: all, unless a project lists those that it needs (<c>ModelGenWeightFiles</c>). The others are then constant
/// false where a program is trimmed or published with NativeAOT, which leaves their readers out.
/// </summary>
internal static class FileReaders
{
    [FeatureSwitchDefinition("ModelGen.Files.Safetensors")]
    public static bool Safetensors => IsWanted("ModelGen.Files.Safetensors");

    [FeatureSwitchDefinition("ModelGen.Files.Gguf")]
    public static bool Gguf => IsWanted("ModelGen.Files.Gguf");

    [FeatureSwitchDefinition("ModelGen.Files.Llama2c")]
    public static bool Llama2c => IsWanted("ModelGen.Files.Llama2c");

    [FeatureSwitchDefinition("ModelGen.Files.Llmc")]
    public static bool Llmc => IsWanted("ModelGen.Files.Llmc");

    [FeatureSwitchDefinition("ModelGen.Files.PyTorch")]
    public static bool PyTorch => IsWanted("ModelGen.Files.PyTorch");

    [FeatureSwitchDefinition("ModelGen.Files.NumPy")]
    public static bool NumPy => IsWanted("ModelGen.Files.NumPy");

    private static bool IsWanted(string name) => !AppContext.TryGetSwitch(name, out bool isWanted) || isWanted;
}
