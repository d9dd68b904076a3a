using System.Globalization;
using System.Runtime.InteropServices;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Models;

/// <summary>
/// Whole models on every path, in processes of their own: logits, loss and gradients are those of the 256-bit path but for the order
/// of additions.
/// </summary>
[Collection(SerialCollection.Name)]
public sealed class VectorWidthTests
{
    private const double Tolerance = 1e-6;
    private const string FileVariable = "MODELGEN_TEST_RESULTS";
    private const string PathVariable = "MODELGEN_TEST_EXPECTED_PATH";

    private static readonly Lazy<Dictionary<string, float[]>> s_reference = new(() => Results(Check256, ("MODELGEN_VECTOR_BITS", "256")));

    [Theory]
    [InlineData("MODELGEN_VECTOR_BITS", "128", "")]
    [InlineData("MODELGEN_VECTOR_BITS", "512", "")]
    [InlineData("DOTNET_EnableAVX2", "0", "SSE")]
    [InlineData("DOTNET_EnableHWIntrinsic", "0", "scalar")]
    public void Models_compute_what_they_compute_at_256_bits(string variable, string value, string path)
    {
        // The names of the paths are those of x64.
        string expected = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? path : "";
        Dictionary<string, float[]> results = Results(CheckOther, (variable, value), (PathVariable, expected));
        Assert.Equal(s_reference.Value.Keys, results.Keys);
        Assert.All(s_reference.Value, pair => Compare.RelativeToNorm(pair.Value, results[pair.Key], Tolerance, $"{pair.Key} with {variable}={value}"));
    }

    [Check]
    private static void Check256()
    {
        Assert.Equal(256, ComputePath.VectorBits);
        Write();
    }

    [Check]
    private static void CheckOther()
    {
        Assert.NotEqual(256, ComputePath.VectorBits);
        if (Environment.GetEnvironmentVariable(PathVariable) is { Length: > 0 } path)
        {
            Assert.Equal(path, ComputePath.Name);
        }

        Write();
    }

    private static Dictionary<string, float[]> Results(Action check, params (string Name, string Value)[] environment)
    {
        string file = Path.GetTempFileName();
        try
        {
            ChildProcess.RunCheck(check, [.. environment, (FileVariable, file)]);
            return File.ReadLines(file).Select(line => line.Split(':')).ToDictionary(
                parts => parts[0],
                parts => parts[1].Split(' ').Select(number => float.Parse(number, CultureInfo.InvariantCulture)).ToArray());
        }
        finally
        {
            File.Delete(file);
        }
    }

    private static void Write()
    {
        using var file = new StreamWriter(Environment.GetEnvironmentVariable(FileVariable)!);
        Sequences<TiedGpt>(file, TiedGpt.Parameters);
        Sequences<UntiedGpt>(file, UntiedGpt.Parameters);
        Sequences<LstmLm>(file, LstmLm.Parameters);
        Sequences<GruLm>(file, GruLm.Parameters);
        Sequences<RnnLm>(file, RnnLm.Parameters);

        float[] inputs = [.. Enumerable.Range(0, 5 * 13).Select(i => MathF.Sin(i))];
        CrossEntropyMlp model = CrossEntropyMlp.Create(seed: 1);
        float[] outputs = new float[5 * 7];
        using (FeedForwardSession session = model.CreateSession())
        {
            session.Predict(inputs, outputs);
        }

        Line(file, "CrossEntropyMlp outputs", outputs);
        using ClassifierTrainer trainer = model.CreateTrainer(new AdamW());
        Line(file, "CrossEntropyMlp loss", [trainer.Step(inputs, [0, 1, 2, 3, 6])]);
        foreach (ParameterInfo parameter in CrossEntropyMlp.Parameters)
        {
            Line(file, $"CrossEntropyMlp d {parameter.Name}", trainer.Gradient(parameter.Name));
        }
    }

    private static void Sequences<TModel>(TextWriter file, IReadOnlyList<ParameterInfo> parameters)
        where TModel : ITrainableLanguageModel<TModel>
    {
        string name = TModel.ModelName;
        TModel model = TModel.Create(seed: 1);
        using (CausalSession session = model.CreateSession())
        {
            Line(file, $"{name} prefill", session.Prefill([1, 5, 2, 7, 3, 11, 4, 13, 6]));
            Line(file, $"{name} decode", session.Decode(9));
        }

        int size = TModel.TrainingBatchSize * TModel.TrainingSequenceLength;
        int[] tokens = [.. Enumerable.Range(0, size + 1).Select(i => i * i % TModel.VocabularySize)];
        using TokenTrainer trainer = model.CreateTrainer(new AdamW());
        Line(file, $"{name} loss", [trainer.Step(tokens.AsSpan(0, size), tokens.AsSpan(1, size))]);
        foreach (ParameterInfo parameter in parameters)
        {
            Line(file, $"{name} d {parameter.Name}", trainer.Gradient(parameter.Name));
        }
    }

    private static void Line(TextWriter file, string name, ReadOnlySpan<float> values)
        => file.WriteLine($"{name}:{string.Join(' ', values.ToArray().Select(value => value.ToString("R", CultureInfo.InvariantCulture)))}");
}
