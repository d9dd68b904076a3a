using ModelGen.Compiler;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;
using ModelGen.Tests.Compiler;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Models;

/// <summary>
/// Every tensor on the way through the trained sorting GPT, as the emitted kernels compute it, against what was recorded beside
/// the model. The graph is the declaration's, with its inner values made outputs so that fusion keeps them.
/// </summary>
public sealed class IntermediateTensorTests
{
    private const double Tolerance = 1e-5;

    private static readonly (string Recorded, string Node)[] Tensors =
    [
        ("tok_emb", "transformer.wte"),
        ("pos_emb", "transformer.wpe"),
        ("x", "transformer.embeddings"),
        ("ln1", "transformer.h.0.ln_1"),
        ("qkv", "transformer.h.0.attn.c_attn"),
        ("q", "transformer.h.0.attn.q"),
        ("k", "transformer.h.0.attn.k"),
        ("v", "transformer.h.0.attn.v"),
        ("y", "transformer.h.0.attn"),
        ("yProj", "transformer.h.0.attn.c_proj"),
        ("attnResid", "transformer.h.0.attn.residual"),
        ("ln2", "transformer.h.0.ln_2"),
        ("fc", "transformer.h.0.mlp.c_fc"),
        ("gelu", "transformer.h.0.mlp.act"),
        ("mlp", "transformer.h.0.mlp.c_proj"),
        ("mlpResid", "transformer.h.0.mlp.residual"),
        ("block0", "transformer.h.0.mlp.residual"),
        ("block1", "transformer.h.1.mlp.residual"),
        ("block2", "transformer.h.2.mlp.residual"),
        ("ln_f", "transformer.ln_f"),
        ("lm_head", "lm_head"),
    ];

    [Fact]
    public void Sorting_gpt_computes_every_recorded_tensor()
    {
        ReferenceFile partials = new(TestData.File("gpt-nano-sort", "gpt-nano-sort-partials.safetensors"));
        ReferenceFile file = new(TestData.File("gpt-nano-sort", "gpt-nano-sort.safetensors"));
        (int batch, int time) = (partials.Shape("idx")[0], partials.Shape("idx")[1]);
        double[][] biases = new SortingGptReference(file).RecoverQkvBiases(partials, time);

        ModelSpec spec = Families.Spec(
            "Gpt",
            batch,
            time,
            DeclaredArgument.Of("Layers", 3L),
            DeclaredArgument.Of("DModel", 48L),
            DeclaredArgument.Of("Heads", 3L),
            DeclaredArgument.Of("Vocab", 3L),
            DeclaredArgument.Of("Context", 11L),
            DeclaredArgument.Of("TieEmbeddings", 0L),
            DeclaredArgument.Of("Layout", 1L));
        ModelGraph built = FamilyRegistry.Get("Gpt").Build(spec, BuildMode.Inference);
        ModelGraph inspected = GraphRewriter.Rewrite(built, (_, _, _) => null, (builder, map) =>
        {
            foreach ((string recorded, string name) in Tensors)
            {
                builder.Output(recorded, map[new Value(built.Nodes.Single(n => n.Name == name), 0)]);
            }

            // Attention writes its rows' log-sum-exp only where something reads it.
            Value logSumExp = map[new Value(built.Nodes.Single(n => n.Name == "transformer.h.0.attn"), 1)];
            builder.Output("logsumexp", builder.Add(new Affine(2, 0), "logsumexp doubled", logSumExp));
        });
        ModelGraph graph = Simplify.Run(ExpandComposites.Run(BindExtents.Run(inspected, batch, time)));
        GraphFunction function = GraphFunction.Compile([graph], BufferPlacement.Planned)[0];

        Dictionary<string, Tensor> parameters = [];
        foreach (Parameter parameter in graph.NodesOf<Parameter>().Select(n => (Parameter)n.Op))
        {
            string name = parameter.ParameterName;
            double[] values = file.Has(name) ? file.Doubles(name) : biases[int.Parse(name.Split('.')[2])];
            parameters.Add(name, new Tensor([.. parameter.Shape.Dims.Select(d => d.Maximum)], values));
        }

        RunResults results = function.Run(
            new RunArguments
            {
                Parameters = parameters,
                Inputs = { ["tokens"] = new Tensor([batch, time], Array.ConvertAll(partials.Ints("idx"), x => (double)x)) },
                Batch = batch,
                Time = time,
            },
            threads: 2);

        foreach ((string recorded, _) in Tensors)
        {
            float[] actual = results.Outputs[recorded].ToSingle();
            int[] shape = partials.Shape(recorded);
            if (recorded is "q" or "k" or "v")
            {
                actual = ByHead(actual, shape);
            }

            Compare.Absolute(partials.Floats(recorded), actual, Tolerance, recorded);
        }

        // Attention is streamed: of the score matrix only the logarithm of each row's sum of exponentials exists, which ties
        // the scores down together with the result y.
        float[] scores = partials.Floats("att");
        float[] expected = new float[scores.Length / time];
        for (int row = 0; row < expected.Length; row++)
        {
            expected[row] = 2 * (float)Math.Log(scores.AsSpan(row * time, time).ToArray().Sum(s => Math.Exp(s)));
        }

        int heads = partials.Shape("att")[1];
        Compare.Absolute(expected, ByHead(results.Outputs["logsumexp"].ToSingle(), [batch, heads, time, 1]), 2 * Tolerance, "logsumexp");
    }

    /// <summary>[B, T, heads · columns] to [B, heads, T, columns].</summary>
    private static float[] ByHead(float[] values, int[] shape)
    {
        (int batch, int heads, int time, int columns) = (shape[0], shape[1], shape[2], shape[3]);
        float[] result = new float[values.Length];
        for (int b = 0; b < batch; b++)
        {
            for (int h = 0; h < heads; h++)
            {
                for (int t = 0; t < time; t++)
                {
                    values.AsSpan(((((b * time) + t) * heads) + h) * columns, columns).CopyTo(result.AsSpan(((((b * heads) + h) * time) + t) * columns));
                }
            }
        }

        return result;
    }
}
