namespace ModelGen;

/// <summary>Says which tokens may follow in an output. It is asked for every beam (or sample) at every step, by one thread at a time, and must answer alike for the same tokens.</summary>
public interface ITokenConstraint
{
    /// <summary>Takes out of the logits what may not follow.</summary>
    /// <param name="input">The number of the input whose output it is.</param>
    /// <param name="tokens">The tokens of the output so far, without the prompt.</param>
    /// <param name="logits">One for each token id; those of tokens that may not follow are to be set to negative infinity, all others left as they are.</param>
    void Restrict(int input, ReadOnlySpan<int> tokens, Span<float> logits);
}
