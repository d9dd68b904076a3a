using System.Globalization;
using System.Text.Json;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Models;

/// <summary>A trained dense network with an activation of its own behind each layer, against what it gave where it was trained.</summary>
public class DenseSeriesTests
{
    [Fact]
    public void A_dense_network_of_RTNeural_gives_its_series()
    {
        DenseSeries model = DenseSeries.Create();
        using JsonDocument network = JsonDocument.Parse(File.ReadAllText(TestData.File("rtneural", "dense.json")));
        JsonElement[] layers = [.. network.RootElement.GetProperty("layers").EnumerateArray().Where(layer => layer.GetProperty("weights").GetArrayLength() > 0)];
        for (int i = 0; i < layers.Length; i++)
        {
            // Keras keeps a column for each output; here it is a row.
            float[][] columns = [.. layers[i].GetProperty("weights")[0].EnumerateArray().Select(Numbers)];
            ((float[])[.. Enumerable.Range(0, columns[0].Length).SelectMany(output => columns.Select(row => row[output]))]).CopyTo(model.Parameter($"fc{i + 1}.weight"));

            // A layer without a bias has one of zeros.
            Span<float> bias = model.Parameter($"fc{i + 1}.bias");
            bias.Clear();
            if (layers[i].GetProperty("weights").GetArrayLength() > 1)
            {
                Numbers(layers[i].GetProperty("weights")[1]).CopyTo(bias);
            }
        }

        float[] x = Series("x"), expected = Series("y"), together = new float[x.Length], alone = new float[x.Length];
        using FeedForwardSession session = model.CreateSession();
        for (int i = 0; i < x.Length; i++)
        {
            session.Predict(x.AsSpan(i, 1), alone.AsSpan(i, 1));
        }

        for (int i = 0; i < x.Length; i += session.MaximumBatch)
        {
            int length = Math.Min(session.MaximumBatch, x.Length - i);
            session.Predict(x.AsSpan(i, length), together.AsSpan(i, length));
        }

        Compare.Absolute(expected, alone, 1e-6, "one by one");
        Compare.Absolute(expected, together, 1e-6, "together");
    }

    private static float[] Numbers(JsonElement list) => [.. list.EnumerateArray().Select(number => number.GetSingle())];

    private static float[] Series(string end) => [.. File.ReadLines(TestData.File("rtneural", $"dense_{end}_python.csv")).Select(line => float.Parse(line, CultureInfo.InvariantCulture))];
}
