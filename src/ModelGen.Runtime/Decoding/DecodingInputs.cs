namespace ModelGen.Runtime;

/// <summary>The prompts and forced prefixes of one call, and how they are fed to a session.</summary>
internal sealed class DecodingInputs(ISequenceDecoder decoder, int rows, int maximumLength)
{
    private readonly int[] _limits = new int[decoder.Batch / rows];
    private IReadOnlyList<int[]> _prompts = [];
    private IReadOnlyList<int[]>? _prefixes;

    public int Capacity => _limits.Length;

    public int Count { get; private set; }

    /// <summary>Takes the inputs of a call.</summary>
    public void Take(IReadOnlyList<int[]> prompts, IReadOnlyList<int[]>? prefixes)
    {
        ArgumentNullException.ThrowIfNull(prompts);
        Count = 0;
        if (prompts.Count < 1 || prompts.Count > Capacity)
        {
            throw new ArgumentException(FormattableString.Invariant($"Expected 1 to {Capacity} inputs, as many as the session has room for, found {prompts.Count}."), nameof(prompts));
        }

        if (prefixes is not null && prefixes.Count != prompts.Count)
        {
            throw new ArgumentException(FormattableString.Invariant($"Expected a prefix for each of {prompts.Count} inputs, found {prefixes.Count}."), nameof(prefixes));
        }

        for (int input = 0; input < prompts.Count; input++)
        {
            if (prompts[input] is not { Length: > 0 } prompt)
            {
                throw new ArgumentException(FormattableString.Invariant($"Input {input} has no token to begin with."), nameof(prompts));
            }

            RunChecks.TokenIds(prompt, decoder.VocabularySize, nameof(prompts));
            if (prefixes?[input] is { } prefix)
            {
                RunChecks.TokenIds(prefix, decoder.VocabularySize, nameof(prefixes));
                if (prefix.Length > maximumLength)
                {
                    throw new ArgumentException(FormattableString.Invariant($"The prefix of input {input} has {prefix.Length} tokens, and an output has at most {maximumLength}."), nameof(prefixes));
                }
            }
        }

        (_prompts, _prefixes) = (prompts, prefixes);
    }

    /// <summary>Feeds all prompts but for their last tokens, which become the next ones; every other sequence has none.</summary>
    public void Feed(bool continues, Span<int> next)
    {
        next.Fill(-1);
        for (int input = 0; input < _prompts.Count; input++)
        {
            int row = input * rows;
            int[] prompt = _prompts[input];
            if (!continues)
            {
                decoder.Begin(row);
            }

            // All tokens but the last of an output are fed as well.
            int position = decoder.Positions[row], context = decoder.ContextLength;
            if (context > 0 && prompt.Length > context - position)
            {
                throw new InvalidOperationException(FormattableString.Invariant($"The {prompt.Length} tokens of input {input} do not fit: the context length is {context}, and {position} of it are taken."));
            }

            _limits[input] = context > 0 ? Math.Min(maximumLength, context - position - prompt.Length + 1) : maximumLength;
            if (Prefix(input).Length > _limits[input])
            {
                throw new ArgumentException(
                    FormattableString.Invariant($"The prefix of input {input} has {Prefix(input).Length} tokens, and an output has room for {_limits[input]}: the context length is {context}, of which {position + prompt.Length} are taken."), "prefixes");
            }

            if (prompt.Length > 1)
            {
                decoder.Prefill(row, prompt.AsSpan(0, prompt.Length - 1));
            }

            next[row] = prompt[^1];
        }

        Count = _prompts.Count;
    }

    public ReadOnlySpan<int> Prompt(int input) => _prompts[input];

    public ReadOnlySpan<int> Prefix(int input) => _prefixes?[input];

    /// <summary>The most tokens of an input's output.</summary>
    public int Limit(int input) => _limits[input];
}
