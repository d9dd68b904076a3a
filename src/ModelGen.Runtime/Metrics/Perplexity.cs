namespace ModelGen;

/// <summary>Adds up the losses of tokens: their mean in nats, the perplexity, bits.</summary>
public sealed class Perplexity
{
    private double _sum;

    /// <summary>The number of tokens.</summary>
    public long Count { get; private set; }

    /// <summary>The mean loss in nats per token; NaN without tokens.</summary>
    public double MeanLoss => _sum / Count;

    /// <summary>e to the mean loss: among how many equally likely tokens the model hesitates.</summary>
    public double Value => Math.Exp(MeanLoss);

    /// <summary>The mean loss in bits per token. Where a token is a byte or a character, bits per byte or character.</summary>
    public double BitsPerToken => MeanLoss / Math.Log(2);

    /// <summary>Adds the log-probabilities of tokens, in nats.</summary>
    /// <param name="logProbabilities">One for each token.</param>
    public void Add(ReadOnlySpan<float> logProbabilities)
    {
        foreach (float logProbability in logProbabilities)
        {
            _sum -= logProbability;
        }

        Count += logProbabilities.Length;
    }

    /// <summary>Adds a mean loss over a number of tokens.</summary>
    /// <param name="meanLoss">The mean loss in nats.</param>
    /// <param name="count">The number of tokens.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="count"/> is negative.</exception>
    public void Add(double meanLoss, long count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);

        // The mean of nothing is no number.
        _sum += count > 0 ? meanLoss * count : 0;
        Count += count;
    }
}
