using System.Globalization;
using System.Reflection;
using ModelGen.Compiler;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;
using ModelGen.Compiler.Programs;
using ModelGen.Compiler.Targets.Cpu;
using ModelGen.Tests.Compiler;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Programs;

/// <summary>
/// A program that no family describes, compiled as a model's class is, and the same program in the reference interpreter. A driver
/// in C#, compiled with the class, stands between its spans and the test's arrays.
/// </summary>
internal sealed class ProgramModel
{
    private readonly ModelProgram _program;
    private readonly Assembly _assembly;
    private readonly object _model;

    public ProgramModel(ModelProgram program, string driver)
    {
        _program = program;
        Files = ModelCompiler.Compile(Spec, program, CacheSizes.Default, default).Files.Select(f => (f.HintName, f.Text)).ToArray();
        _assembly = Load(Files, driver);
        _model = Type.GetMethod("Create")!.Invoke(null, [7])!;
        foreach (ParameterInfo parameter in Parameters)
        {
            // Biases, which begin as zeros, are to be told apart too.
            var random = new Random(parameter.Name.Length + parameter.Shape[0]);
            float[] values = [.. Enumerable.Range(0, (int)parameter.Length).Select(_ => (float)(random.NextDouble() - 0.5))];
            Call<object>("Set", _model, parameter.Name, values);
        }
    }

    public static ModelSpec Spec { get; } = new(new TypeIdentity("Tests", [], "Model", "public", "Tests.Model"), "a test's program", [], null, null);

    public object Instance => _model;

    public IReadOnlyList<(string Name, string Text)> Files { get; }

    public Type Type => _assembly.GetType("Tests.Model")!;

    public IReadOnlyList<ParameterInfo> Parameters => (IReadOnlyList<ParameterInfo>)Type.GetProperty("Parameters")!.GetValue(null)!;

    public static Assembly Load(IEnumerable<(string Name, string Text)> files, string driver) => InMemoryCompilation.Load([.. files, ("Driver.cs", Driver(driver))], "Program");

    public ModelSession CreateSession(int threads = 2) => (ModelSession)Invoke(_model, "CreateSession", new SessionOptions { Threads = threads })!;

    public Trainer CreateTrainer(Optimizer optimizer, int threads = 2, int accumulation = 1)
        => (Trainer)Invoke(_model, "CreateTrainer", optimizer, new TrainerOptions { Threads = threads, AccumulationSteps = accumulation })!;

    public float[] Parameter(string name) => Call<float[]>("Get", _model, name);

    /// <summary>Calls a method of the driver, and throws what it throws.</summary>
    public T Call<T>(string method, params object[] arguments) => (T)Invoke(null, method, arguments)!;

    /// <summary>A call of the driver without reflection, for measuring it.</summary>
    public Action Action(string method, params object[] arguments) => Call<Action>(method, arguments);

    /// <summary>What the interpreter makes of an entry point as it was built, with nothing simplified or moved.</summary>
    public RunResults Expected(string name, Dictionary<string, Tensor> inputs, Dictionary<string, Tensor>? state = null, int count = 1, double lossNormalizer = 1, IReadOnlyDictionary<string, int>? counts = null)
    {
        EntryPoint entry = _program.Entry(name);
        ModelGraph graph = ExpandComposites.Run(BindExtents.Run(entry.Build().WithOutputs([.. entry.Outputs]), Literal(entry.Batch), Literal(entry.Time)));
        if (entry.Trains)
        {
            graph = ReverseMode.Differentiate(graph, entry.Outputs[0], entry.Group.Contains);
        }

        return ReferenceInterpreter.Run(graph, new RunArguments
        {
            Parameters = Parameters.ToDictionary(p => p.Name, p => new Tensor([.. p.Shape], [.. Parameter(p.Name).Select(x => (double)x)])),
            Inputs = inputs,
            State = state ?? [],
            LossNormalizer = lossNormalizer,
            Counts = counts ?? new Dictionary<string, int>(),
        });

        Dim Literal(Dim dim) => dim.IsLiteral ? dim : (Dim)count;
    }

    private static string Driver(string methods) => $$"""
        using System;
        using ModelGen;

        namespace Tests
        {
            public partial class Model;
        }

        public static class Driver
        {
            public static object Set(Tests.Model model, string name, float[] values) { values.CopyTo(model.Parameter(name)); return model; }
            public static float[] Get(Tests.Model model, string name) => model.Parameter(name).ToArray();
            public static float[] Gradient(Trainer trainer, string name) => trainer.Gradient(name).ToArray();
        {{methods}}
        }
        """;

    private object? Invoke(object? target, string method, params object[] arguments)
    {
        Type type = target is null ? _assembly.GetType("Driver")! : target.GetType();
        return type.GetMethod(method)!.Invoke(target, BindingFlags.DoNotWrapExceptions, null, arguments, CultureInfo.InvariantCulture);
    }
}
