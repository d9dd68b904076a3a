using System.CommandLine;
using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime;
using ModelGen.Benchmarks.Measuring;
using OrtOptions = Microsoft.ML.OnnxRuntime.SessionOptions;

const string Row = "encoder", Output = "last_hidden_state";
const double Tolerance = 1e-4;
Argument<DirectoryInfo> folder = new("folder") { Description = "What `ModelGen.Benchmarks export` and peers/export_onnx.py wrote." };
folder.AcceptExistingOnly();
Option<int> repeats = new("--repeats") { Description = "Times measured for each case; 0: as many as suit the row." };
Option<int> threads = new("--threads") { Description = "Threads; 0: one, then two." };
Option<double> seconds = new("--seconds") { Description = "The shortest time of one repeat; 0: what suits the row." };
Option<int> round = new("--round") { Description = "The number of the round in the results." };
RootCommand root = new("Measures ONNX Runtime on the encoders of the row `encoder`, and refuses to where its hidden states are others.") { folder, repeats, threads, seconds, round };
root.SetAction(result =>
{
    MeasureSettings settings = new MeasureSettings(result.GetValue(repeats), result.GetValue(threads), result.GetValue(seconds)).Default(repeats: 9, seconds: 0.2);
    foreach (int count in settings.ThreadCounts(1, 2))
    {
        foreach (FileInfo model in result.GetValue(folder)!.EnumerateFiles("*.onnx").OrderBy(static file => file.Name, StringComparer.Ordinal))
        {
            Console.Out.WriteLine((Measure(model, count, settings) with { Round = result.GetValue(round) }).ToJson());
        }
    }
});
return root.Parse(args).Invoke();

static Measurement Measure(FileInfo model, int threads, MeasureSettings settings)
{
    string path = Path.Combine(model.DirectoryName!, Path.GetFileNameWithoutExtension(model.Name));
    long[] tokens = [.. MemoryMarshal.Cast<byte, int>(File.ReadAllBytes(path + ".tokens")).ToArray().Select(static id => (long)id)];
    float[] expected = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(path + ".hidden")).ToArray(), hidden = new float[expected.Length];
    using var options = new OrtOptions { IntraOpNumThreads = threads, InterOpNumThreads = 1, GraphOptimizationLevel = GraphOptimizationLevel.ORT_ENABLE_ALL };
    using var session = new InferenceSession(model.FullName, options);
    using var run = new RunOptions();

    // All tokens are there, and of the first segment.
    string[] names = [.. session.InputMetadata.Keys];
    OrtValue[] inputs = [.. names.Select(name => Sequence(name switch
    {
        "input_ids" => tokens,
        "attention_mask" => [.. tokens.Select(static _ => 1L)],
        _ => new long[tokens.Length],
    }))];
    OrtValue[] outputs = [OrtValue.CreateTensorValueFromMemory(hidden, [1, tokens.Length, hidden.Length / tokens.Length])];
    try
    {
        session.Run(run, names, inputs, [Output], outputs);
        double difference = expected.Zip(hidden, static (a, b) => Math.Abs(a - b)).Max();
        if (!(difference <= Tolerance))
        {
            throw new InvalidOperationException($"{model.Name}: its hidden states differ by {difference:g2}.");
        }

        return new Measurement
        {
            Row = Row,
            Case = Path.GetFileNameWithoutExtension(model.Name),
            Side = "onnxruntime",
            Threads = threads,
            Runtime = $"ONNX Runtime {OrtEnv.Instance().GetVersionString()}",
            Tokens = tokens.Length,
            Values = { ["largest difference"] = difference },
            Seconds = Stopclock.Run(settings, count =>
            {
                for (int i = 0; i < count; i++)
                {
                    session.Run(run, names, inputs, [Output], outputs);
                }
            }),
        };
    }
    finally
    {
        Array.ForEach([.. inputs, .. outputs], static value => value.Dispose());
    }

    static OrtValue Sequence(long[] ids) => OrtValue.CreateTensorValueFromMemory(ids, [1, ids.Length]);
}
