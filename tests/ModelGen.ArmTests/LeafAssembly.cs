using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Runtime.Loader;
using System.Text.RegularExpressions;
using ModelGen.Compiler;
using ModelGen.PackageTests;

namespace ModelGen.ArmTests;

/// <summary>
/// The plans and kernels that the compiler emits for some models, with the runtime's sources that they need, as one assembly
/// without a garbage collector's, a thread's or an exception's need: what can be run bare. It is compiled once, for the JIT here and
/// for arm64.
/// </summary>
internal sealed partial class LeafAssembly
{
    public const string Name = "leaf";

    // Threads, memory and files stay behind.
    private static readonly string[] RuntimeSources = ["Numerics/*.cs", "Kernels/*.cs", "Models/PlanContext.cs", "Declarations/WeightFormat.cs", "Weights/BlockRows.cs", "Weights/BlockGroups.cs", "Weights/SuperBlocks.cs", "Files/GgmlBlocks.cs", "Files/GgmlType.cs", "Files/WeightedBlocks.cs"];

    private readonly string[] _emitted;
    private readonly string[] _plans;

    /// <summary>Compiles the models' plans and kernels into a folder.</summary>
    public LeafAssembly(TemporaryFolder folder, IEnumerable<ModelScenario> models)
    {
        _emitted = [.. models.SelectMany(model => model.Files).Select(Generated).Where(text => text.Length > 0)];
        _plans = [.. _emitted.SelectMany(Plans)];
        string cases = string.Join('\n', _plans.Select((plan, i) => string.Create(CultureInfo.InvariantCulture, $"case {i}: {plan}(in context, worker); break;")));
        string dispatch =
            $$"""
            internal static class Plans
            {
                public static void Run(int plan, in ModelGen.Runtime.PlanContext context, ModelGen.Runtime.Worker worker)
                {
                    switch (plan)
                    {
                        {{cases}}
                    }
                }
            }
            """;

        IEnumerable<string> texts =
        [
            "global using System; [module: System.Runtime.CompilerServices.SkipLocalsInit]",
            dispatch,
            .. _emitted,
            .. RuntimeSources.SelectMany(pattern => Sources(Path.Combine("src", "ModelGen.Runtime"), pattern)).Select(RuntimeSource),
        ];
        string[] written = [.. texts.Select((text, i) => Write(folder.Combine($"{i}.cs"), text))];

        // The SDK's compiler, in a process of its own: its assemblies are precompiled, unlike those that a package would bring. It does not live
        // long enough for compiling them again to pay.
        File = folder.Combine(Name + ".dll");
        string[] arguments =
        [
            "exec", Toolchain.CSharpCompiler,
            "-nologo", "-noconfig", "-nostdlib", "-target:library", "-unsafe", "-optimize", "-deterministic", "-nullable:enable", "-langversion:latest", "-warn:0",
            "-define:NET9_0_OR_GREATER;NET10_0_OR_GREATER",
            "-out:" + File,
            .. Directory.EnumerateFiles(Path.GetDirectoryName(typeof(object).Assembly.Location)!, "*.dll").Select(path => "-r:" + path),
            .. Sources(Path.Combine("tests", "ModelGen.ArmTests", "Leaf"), "*.cs"),
            .. written,
        ];
        Command.Run(folder.Path, "dotnet", arguments, ("DOTNET_TieredCompilation", "0")).Succeeded();
    }

    /// <summary>Where the assembly is.</summary>
    public string File { get; }

    /// <summary>The number by which a command asks for a plan.</summary>
    public int Plan(string model, string plan)
    {
        int index = Array.FindIndex(_plans, name => name.Contains(model + "_", StringComparison.Ordinal) && name.EndsWith($".{plan}Plan.Run", StringComparison.Ordinal));
        return index >= 0 ? index : throw new ArgumentException($"{model} has no plan {plan}: {string.Join(", ", _plans)}");
    }

    /// <summary>Runs an image here, compiled by the JIT.</summary>
    /// <returns>The memory afterwards.</returns>
    public unsafe byte[] RunHere(byte[] image)
    {
        byte* memory = (byte*)NativeMemory.AlignedAlloc((nuint)image.Length, 64);
        try
        {
            image.CopyTo(new Span<byte>(memory, image.Length));
            Call("Run", Pointer.Box(memory, typeof(byte*)));
            return new ReadOnlySpan<byte>(memory, image.Length).ToArray();
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
        }
    }

    /// <summary>Rounds weights to blocks as a file of a format has them.</summary>
    /// <param name="format">The number of the format.</param>
    /// <param name="values">The weights, whole blocks.</param>
    public unsafe byte[] Store(int format, float[] values)
    {
        byte[] blocks = new byte[Bytes(format, values.Length).File];
        fixed (float* from = values)
        fixed (byte* to = blocks)
        {
            Call("Store", format, Pointer.Box(from, typeof(float*)), values.Length, Pointer.Box(to, typeof(byte*)));
        }

        return blocks;
    }

    /// <summary>The bytes of so many weights in a file, of 16 such rows in memory, and of an input's row.</summary>
    public (int File, int Group, int Input) Bytes(int format, int columns)
    {
        int[] bytes = (int[])Call("Bytes", format, columns)!;
        return (bytes[0], bytes[1], bytes[2]);
    }

    // In a context of its own, which is collected: it does not stay in the test process.
    private object? Call(string method, params object[] arguments)
    {
        AssemblyLoadContext context = new(Name, isCollectible: true);
        try
        {
            return context.LoadFromAssemblyPath(File).GetType("ModelGen.Leaf.Interpreter")!.GetMethod(method)!.Invoke(null, arguments);
        }
        finally
        {
            context.Unload();
        }
    }

    /// <summary>Of an emitted file, what lies in the namespace of plans and kernels; the rest is the surface that users see.</summary>
    private static string Generated(EmittedFile file)
    {
        Match space = CodeNamespace().Match(file.Text);
        bool isNeeded = PlanClass().IsMatch(file.Text) || file.HintName.EndsWith(".Offsets.g.cs", StringComparison.Ordinal);
        return !space.Success || !isNeeded ? "" : file.Text[space.Index..];
    }

    private static IEnumerable<string> Plans(string text)
        => PlanMethod().Matches(text).Select(match => $"{CodeNamespace().Match(text).Groups["name"].Value}.{PlanClass().Match(text).Groups["name"].Value}.{match.Groups["name"].Value}");

    /// <summary>
    /// The width that an environment variable may force is read by a static constructor, which needs a runtime. Here nothing is forced
    /// on Arm, which then has to choose as it does for users; and the JIT is compared at Arm's width.
    /// </summary>
    private static string RuntimeSource(string path)
    {
        const string Field = "private static readonly int Forced = ReadForced();";
        const string Property = "private static int Forced => AdvSimd.IsSupported ? NotForced : 128;";
        string text = System.IO.File.ReadAllText(path);
        return Path.GetFileName(path) != "Simd.cs" ? text
            : text.Contains(Field, StringComparison.Ordinal) ? text.Replace(Field, Property, StringComparison.Ordinal)
            : throw new InvalidOperationException($"{path} does not have the line '{Field}'.");
    }

    private static IEnumerable<string> Sources(string folder, string pattern)
    {
        string path = Path.Combine(Repository.Root, folder, pattern);
        return Directory.EnumerateFiles(Path.GetDirectoryName(path)!, Path.GetFileName(path)).Order(StringComparer.Ordinal);
    }

    private static string Write(string path, string text)
    {
        System.IO.File.WriteAllText(path, text);
        return path;
    }

    [GeneratedRegex(@"^namespace (?<name>ModelGen\.Generated\.\w+)", RegexOptions.Multiline)]
    private static partial Regex CodeNamespace();

    [GeneratedRegex(@"public static void (?<name>Run)\(in PlanContext ")]
    private static partial Regex PlanMethod();

    [GeneratedRegex(@"static (unsafe partial )?class (?<name>Kernels|\w+Plan)\b")]
    private static partial Regex PlanClass();
}
