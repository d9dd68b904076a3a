using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Runtime.Loader;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using ModelGen.PackageTests;

namespace ModelGen.ArmTests;

/// <summary>
/// The plans and kernels that the compiler emits for some models, with the runtime's sources that they need, as one assembly
/// without a garbage collector's, a thread's or an exception's need: what can be run bare. It is compiled once, for the JIT here and
/// for arm64.
/// </summary>
internal sealed class LeafAssembly
{
    public const string Name = "leaf";

    private const string GeneratedNamespace = "ModelGen.Generated";

    // Threads, memory and files stay behind.
    private static readonly string[] RuntimeSources = ["Numerics/*.cs", "Kernels/*.cs", "Models/PlanContext.cs"];

    private static readonly CSharpParseOptions ParseOptions = new(LanguageVersion.Latest, preprocessorSymbols: ["NET9_0_OR_GREATER", "NET10_0_OR_GREATER"]);

    private readonly string[] _plans;

    private readonly SyntaxTree[] _emitted;

    private LeafAssembly(byte[] image, string[] plans, SyntaxTree[] emitted)
    {
        Image = image;
        _plans = plans;
        _emitted = emitted;
    }

    /// <summary>The assembly.</summary>
    public byte[] Image { get; }

    /// <summary>Compiles the models' plans and kernels.</summary>
    /// <exception cref="InvalidOperationException">The text does not compile; the message quotes each line.</exception>
    public static LeafAssembly Of(IEnumerable<ModelScenario> models)
    {
        SyntaxTree[] emitted = [.. models.SelectMany(model => model.Files).Select(file => Generated(CSharpSyntaxTree.ParseText(file.Text, ParseOptions, file.HintName)))];
        string[] plans = [.. emitted.SelectMany(Plans)];
        string dispatch = string.Join('\n', plans.Select((plan, i) => string.Create(CultureInfo.InvariantCulture, $"case {i}: {plan}(in context, worker); break;")));
        SyntaxTree[] trees =
        [
            .. emitted,
            .. RuntimeSources.SelectMany(pattern => Sources(Path.Combine("src", "ModelGen.Runtime"), pattern)).Select(RuntimeSource),
            .. Sources(Path.Combine("tests", "ModelGen.ArmTests", "Leaf"), "*.cs").Select(Parse),
            CSharpSyntaxTree.ParseText("global using System; [module: System.Runtime.CompilerServices.SkipLocalsInit]", ParseOptions),
            CSharpSyntaxTree.ParseText(
                $$"""
                internal static class Plans
                {
                    public static void Run(int plan, in ModelGen.Runtime.PlanContext context, ModelGen.Runtime.Worker worker)
                    {
                        switch (plan)
                        {
                            {{dispatch}}
                        }
                    }
                }
                """,
                ParseOptions),
        ];

        var compilation = CSharpCompilation.Create(
            Name, trees, References(), new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary, optimizationLevel: OptimizationLevel.Release, allowUnsafe: true, nullableContextOptions: NullableContextOptions.Enable));
        using MemoryStream image = new();
        Microsoft.CodeAnalysis.Emit.EmitResult result = compilation.Emit(image);
        Diagnostic[] errors = [.. result.Diagnostics.Where(diagnostic => diagnostic.Severity == DiagnosticSeverity.Error)];
        return errors.Length == 0
            ? new LeafAssembly(image.ToArray(), plans, emitted)
            : throw new InvalidOperationException(string.Join('\n', errors.Select(error => error.ToString())));
    }

    /// <summary>The number by which a command asks for a plan.</summary>
    public int Plan(string model, string plan)
    {
        int index = Array.FindIndex(_plans, name => name.Contains(model + "_", StringComparison.Ordinal) && name.EndsWith("." + plan, StringComparison.Ordinal));
        return index >= 0 ? index : throw new ArgumentException($"{model} has no plan {plan}: {string.Join(", ", _plans)}");
    }

    /// <summary>The names of the emitted methods in whose text something stands.</summary>
    public IReadOnlySet<string> EmittedMethodsWith(string text)
        => _emitted.SelectMany(Methods).Where(method => method.ToString().Contains(text, StringComparison.Ordinal)).Select(method => method.Identifier.Text).ToHashSet();

    /// <summary>Runs an image here, compiled by the JIT.</summary>
    /// <returns>The memory afterwards.</returns>
    public unsafe byte[] RunHere(byte[] image)
    {
        // Collectible, so that it does not stay in the test process.
        AssemblyLoadContext context = new(Name, isCollectible: true);
        MethodInfo run = context.LoadFromStream(new MemoryStream(Image)).GetType("ModelGen.Leaf.Interpreter")!.GetMethod("Run")!;
        byte* memory = (byte*)NativeMemory.AlignedAlloc((nuint)image.Length, 64);
        try
        {
            image.CopyTo(new Span<byte>(memory, image.Length));
            run.Invoke(null, [Pointer.Box(memory, typeof(byte*))]);
            return new ReadOnlySpan<byte>(memory, image.Length).ToArray();
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
            context.Unload();
        }
    }

    /// <summary>Keeps of an emitted file what the plans and kernels are; the rest is the surface that users see.</summary>
    private static SyntaxTree Generated(SyntaxTree tree)
    {
        CompilationUnitSyntax root = tree.GetCompilationUnitRoot();
        MemberDeclarationSyntax[] members = [.. root.Members.Where(member => member is BaseNamespaceDeclarationSyntax { Name: var name } && name.ToString() == GeneratedNamespace)];
        return tree.WithRootAndOptions(root.WithMembers([.. members]), ParseOptions);
    }

    private static IEnumerable<MethodDeclarationSyntax> Methods(SyntaxTree tree) => tree.GetRoot().DescendantNodes().OfType<MethodDeclarationSyntax>();

    private static IEnumerable<string> Plans(SyntaxTree tree)
        => from method in Methods(tree)
           where method.Modifiers.Any(SyntaxKind.PublicKeyword) && method.ParameterList.Parameters.FirstOrDefault()?.Type?.ToString() == "PlanContext"
           select $"{GeneratedNamespace}.{((ClassDeclarationSyntax)method.Parent!).Identifier}.{method.Identifier}";

    /// <summary>
    /// The width that an environment variable may force is read by a static constructor, which needs a runtime. Here nothing is forced
    /// on Arm, which then has to choose as it does for users; and the JIT is compared at Arm's width.
    /// </summary>
    private static SyntaxTree RuntimeSource(string path)
    {
        const string Field = "private static readonly int Forced = ReadForced();";
        const string Property = "private static int Forced => AdvSimd.IsSupported ? NotForced : 128;";
        string text = File.ReadAllText(path);
        return Path.GetFileName(path) != "Simd.cs" ? CSharpSyntaxTree.ParseText(text, ParseOptions, path)
            : text.Contains(Field, StringComparison.Ordinal) ? CSharpSyntaxTree.ParseText(text.Replace(Field, Property, StringComparison.Ordinal), ParseOptions, path)
            : throw new InvalidOperationException($"{path} does not have the line '{Field}'.");
    }

    private static IEnumerable<string> Sources(string folder, string pattern)
    {
        string path = Path.Combine(Repository.Root, folder, pattern);
        return Directory.EnumerateFiles(Path.GetDirectoryName(path)!, Path.GetFileName(path)).Order(StringComparer.Ordinal);
    }

    private static SyntaxTree Parse(string path) => CSharpSyntaxTree.ParseText(File.ReadAllText(path), ParseOptions, path);

    private static IEnumerable<MetadataReference> References()
    {
        string framework = Path.GetDirectoryName(typeof(object).Assembly.Location)!;
        return ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!)
            .Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)
            .Where(path => Path.GetDirectoryName(path) == framework)
            .Select(path => MetadataReference.CreateFromFile(path));
    }
}
