namespace ModelGen.GpuCheck;

/// <summary>A feed-forward layer of GPT-2's width over as many rows as groups of four warps take: tiles of 128 and 256 columns, and contracted extents in parts.</summary>
[Mlp(768, 3072, 768, Activation = Activation.Gelu)]
[Trainable(BatchSize = 1024)]
[Cuda(Precision = CudaPrecision.BF16)]
public partial class LargeProducts;

/// <summary>Attention on tensor cores, in tiles of 128 queries, and a vocabulary that is a multiple of nothing.</summary>
[Gpt(Layers = 1, DModel = 768, Heads = 12, Vocab = 4099, Context = 1024)]
[Trainable(BatchSize = 2, SequenceLength = 1024)]
[Cuda(Precision = CudaPrecision.BF16)]
public partial class LargeAttention;

/// <summary>
/// Kernels at the sizes that are measured, which those of tiny models are not, against the processor's code: of a first step the loss and the gradient of each parameter, of sessions logits. Errors are in parts of the expected numbers' norm.
/// </summary>
internal static class LargeChecks
{
    private const double Exact = 1e-3;
    private const double Tf32 = 1e-2;
    private const double Bf16 = 4e-2;

    public static void Run(Report report, Device device)
    {
        float[] inputs = [.. Enumerable.Range(0, 1024 * 768).Select(i => MathF.Sin(i))];
        Train(report, "products of 1,024 rows, 768 x 3,072 and back, bf16: a step", Bf16, device, LargeProducts.Parameters, o => LargeProducts.Create(1).CreateTrainer(new Sgd(), o), t => t.Step(inputs, Checks.Ids(1024, 768, 1)));
        Train(report, "a layer of GPT-2 over 2 x 1,024 tokens, bf16: a step", Bf16, device, LargeAttention.Parameters, o => LargeAttention.Create(1).CreateTrainer(new Sgd(), o), t => t.Step(Checks.Ids(2048, 4099, 1), Checks.Ids(2048, 4099, 2)));
        Train(report, "0.8M GPT, B 12 x T 64, tf32: a step", Tf32, device, CharGpt.Parameters, o => CharGpt.Create(1).CreateTrainer(new Sgd(), o), t => t.Step(Checks.Ids(768, 65, 1), Checks.Ids(768, 65, 2)));
        Train(report, "LSTM 2 x 512, B 32 x T 35, V 10,000, tf32: a step", Tf32, device, WordLstm.Parameters, o => WordLstm.Create(1).CreateTrainer(new Sgd(), o), t => t.Step(Checks.Ids(1120, 10000, 1), Checks.Ids(1120, 10000, 2)));
        report.Check("GPT-2 124M, f32: a prompt of 40 tokens and 8 more", Exact, () => Decode(Gpt2Decode.Create(1), device));
        report.Check("GPT-2 124M, bf16: a prompt of 40 tokens and 8 more", Bf16, () => Decode(Gpt2Small.Create(1), device));
        report.Check("GPT-2 124M's width as a decoder, Q8_0: a prompt of 40 tokens and 8 more", Bf16, () => Decode(PackedDecode.Create(1), device));
    }

    private static void Train<TTrainer>(Report report, string name, double tolerance, Device device, IReadOnlyList<ParameterInfo> parameters, Func<TrainerOptions, TTrainer> create, Func<TTrainer, float> step)
        where TTrainer : Trainer
        => report.Check(name, tolerance, () =>
        {
            using TTrainer here = create(new TrainerOptions { Seed = 5 }), there = create(new TrainerOptions { Seed = 5, Device = device });
            if (there.Device.Limitations is [string limitation, ..])
            {
                throw new NotSupportedException(limitation);
            }

            double loss = Checks.Relative([step(here)], [step(there)]);
            return Math.Max(loss, Checks.OfGradients(here, there, parameters));
        });

    private static double Decode<TModel>(TModel model, Device device)
        where TModel : ICausalLanguageModel<TModel>
    {
        using CausalSession here = model.CreateSession(null), there = model.CreateSession(new SessionOptions { Device = device });
        int[] ids = Checks.Ids(48, TModel.VocabularySize, 1);
        double error = Checks.Relative(here.Prefill(ids.AsSpan(0, 40)), there.Prefill(ids.AsSpan(0, 40)));
        foreach (int token in ids[40..])
        {
            error = Math.Max(error, Checks.Relative(here.Decode(token), there.Decode(token)));
        }

        return error;
    }
}
