using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Models;

/// <summary>
/// The trained sorting GPT in double precision, written without the compiler, and the biases that its file lost.
/// </summary>
/// <remarks>
/// The file holds no biases of the query, key and value projections, but the recorded intermediate tensors were computed with
/// them. In the first block they are the constant by which the recorded projections differ from the product. In the others
/// they are found by least squares (Gauss–Newton) from the recorded tensors before and after the block; the key's bias
/// does not matter, since it shifts all scores of a row alike, and stays 0.
/// </remarks>
internal sealed class SortingGptReference
{
    public const int Layers = 3;
    public const int Width = 48;
    public const int Heads = 3;
    public const int Vocabulary = 3;
    public const int FeedForward = 4 * Width;
    private const int HeadWidth = Width / Heads;

    private readonly Dictionary<string, double[]> _weights = [];

    public SortingGptReference(ReferenceFile file)
    {
        foreach (string name in file.Names)
        {
            _weights.Add(name, file.Doubles(name));
        }
    }

    /// <summary>The logits of one sequence at every position, without biases of the projections, as the file is.</summary>
    public double[] Logits(ReadOnlySpan<int> tokens)
    {
        double[] x = new double[tokens.Length * Width];
        for (int t = 0; t < tokens.Length; t++)
        {
            for (int i = 0; i < Width; i++)
            {
                x[(t * Width) + i] = _weights["transformer.wte.weight"][(tokens[t] * Width) + i] + _weights["transformer.wpe.weight"][(t * Width) + i];
            }
        }

        for (int layer = 0; layer < Layers; layer++)
        {
            x = Block(layer, x, tokens.Length, new double[3 * Width]);
        }

        return Linear(LayerNorm(x, "transformer.ln_f"), "lm_head", Width, Vocabulary, null);
    }

    /// <summary>One Transformer block on sequences of <paramref name="time"/> rows.</summary>
    public double[] Block(int layer, double[] x, int time, double[] qkvBias)
    {
        string prefix = $"transformer.h.{layer}.";
        double[] qkv = Linear(LayerNorm(x, prefix + "ln_1"), prefix + "attn.c_attn", Width, 3 * Width, qkvBias);
        double[] attended = new double[x.Length];
        double[] scores = new double[time];
        for (int start = 0; start < x.Length / Width; start += time)
        {
            for (int head = 0; head < Heads; head++)
            {
                int column = head * HeadWidth;
                for (int t = 0; t < time; t++)
                {
                    double maximum = double.NegativeInfinity;
                    for (int s = 0; s <= t; s++)
                    {
                        double score = 0;
                        for (int i = 0; i < HeadWidth; i++)
                        {
                            score += qkv[((start + t) * 3 * Width) + column + i] * qkv[((start + s) * 3 * Width) + Width + column + i];
                        }

                        scores[s] = score / Math.Sqrt(HeadWidth);
                        maximum = Math.Max(maximum, scores[s]);
                    }

                    double sum = 0;
                    for (int s = 0; s <= t; s++)
                    {
                        scores[s] = Math.Exp(scores[s] - maximum);
                        sum += scores[s];
                    }

                    for (int s = 0; s <= t; s++)
                    {
                        for (int i = 0; i < HeadWidth; i++)
                        {
                            attended[((start + t) * Width) + column + i] += scores[s] / sum * qkv[((start + s) * 3 * Width) + (2 * Width) + column + i];
                        }
                    }
                }
            }
        }

        double[] middle = Sum(x, Linear(attended, prefix + "attn.c_proj", Width, Width, _weights[prefix + "attn.c_proj.bias"]));
        double[] hidden = Linear(LayerNorm(middle, prefix + "ln_2"), prefix + "mlp.c_fc", Width, FeedForward, _weights[prefix + "mlp.c_fc.bias"]);
        for (int i = 0; i < hidden.Length; i++)
        {
            double u = hidden[i];
            hidden[i] = 0.5 * u * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (u + (0.044715 * u * u * u))));
        }

        return Sum(middle, Linear(hidden, prefix + "mlp.c_proj", FeedForward, Width, _weights[prefix + "mlp.c_proj.bias"]));
    }

    /// <summary>The biases of the query, key and value projection of each block, from the recorded tensors.</summary>
    public double[][] RecoverQkvBiases(ReferenceFile partials, int time)
    {
        double[][] biases = new double[Layers][];
        double[] product = Linear(partials.Doubles("ln1"), "transformer.h.0.attn.c_attn", Width, 3 * Width, null);
        double[] recorded = partials.Doubles("qkv");
        biases[0] = new double[3 * Width];
        int rows = recorded.Length / (3 * Width);
        for (int i = 0; i < recorded.Length; i++)
        {
            biases[0][i % (3 * Width)] += (recorded[i] - product[i]) / rows;
        }

        for (int layer = 1; layer < Layers; layer++)
        {
            biases[layer] = Recover(layer, partials.Doubles($"block{layer - 1}"), partials.Doubles($"block{layer}"), time);
        }

        return biases;
    }

    private double[] Recover(int layer, double[] before, double[] after, int time)
    {
        double[] bias = new double[3 * Width];
        int[] unknowns = [.. Enumerable.Range(0, Width), .. Enumerable.Range(2 * Width, Width)];
        for (int iteration = 0; iteration < 5; iteration++)
        {
            double[] residual = [.. after.Zip(Block(layer, before, time, bias), (a, b) => a - b)];
            double[][] jacobian = Array.ConvertAll(unknowns, unknown =>
            {
                const double Step = 1e-6;
                double kept = bias[unknown];
                bias[unknown] = kept + Step;
                double[] above = Block(layer, before, time, bias);
                bias[unknown] = kept - Step;
                double[] below = Block(layer, before, time, bias);
                bias[unknown] = kept;
                return (double[])[.. above.Zip(below, (a, b) => (a - b) / (2 * Step))];
            });

            int n = unknowns.Length;
            double[,] normal = new double[n, n];
            double[] right = new double[n];
            for (int i = 0; i < n; i++)
            {
                right[i] = Dot(jacobian[i], residual);
                for (int j = 0; j <= i; j++)
                {
                    normal[i, j] = Dot(jacobian[i], jacobian[j]);
                }
            }

            SolveCholesky(normal, right);
            for (int i = 0; i < n; i++)
            {
                bias[unknowns[i]] += right[i];
            }
        }

        return bias;
    }

    /// <summary>Solves A x = b in place of b; only the lower half of A, positive definite, is read.</summary>
    private static void SolveCholesky(double[,] a, double[] b)
    {
        int n = b.Length;
        for (int i = 0; i < n; i++)
        {
            for (int j = 0; j <= i; j++)
            {
                double sum = a[i, j];
                for (int k = 0; k < j; k++)
                {
                    sum -= a[i, k] * a[j, k];
                }

                a[i, j] = i == j ? Math.Sqrt(sum) : sum / a[j, j];
            }
        }

        for (int i = 0; i < n; i++)
        {
            for (int k = 0; k < i; k++)
            {
                b[i] -= a[i, k] * b[k];
            }

            b[i] /= a[i, i];
        }

        for (int i = n - 1; i >= 0; i--)
        {
            for (int k = i + 1; k < n; k++)
            {
                b[i] -= a[k, i] * b[k];
            }

            b[i] /= a[i, i];
        }
    }

    private double[] LayerNorm(double[] x, string name)
    {
        double[] result = new double[x.Length];
        for (int row = 0; row < x.Length; row += Width)
        {
            double mean = x.Skip(row).Take(Width).Average();
            double variance = x.Skip(row).Take(Width).Average(v => (v - mean) * (v - mean));
            for (int i = 0; i < Width; i++)
            {
                result[row + i] = ((x[row + i] - mean) / Math.Sqrt(variance + 1e-5) * _weights[name + ".weight"][i]) + _weights[name + ".bias"][i];
            }
        }

        return result;
    }

    private double[] Linear(double[] x, string name, int inputs, int outputs, double[]? bias)
    {
        double[] weight = _weights[name + ".weight"];
        int rows = x.Length / inputs;
        double[] result = new double[rows * outputs];
        for (int row = 0; row < rows; row++)
        {
            for (int o = 0; o < outputs; o++)
            {
                double sum = bias?[o] ?? 0;
                for (int i = 0; i < inputs; i++)
                {
                    sum += x[(row * inputs) + i] * weight[(o * inputs) + i];
                }

                result[(row * outputs) + o] = sum;
            }
        }

        return result;
    }

    private static double[] Sum(double[] a, double[] b) => [.. a.Zip(b, (x, y) => x + y)];

    private static double Dot(double[] a, double[] b)
    {
        double sum = 0;
        for (int i = 0; i < a.Length; i++)
        {
            sum += a[i] * b[i];
        }

        return sum;
    }
}
