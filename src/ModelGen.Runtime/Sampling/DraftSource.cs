using ModelGen.Runtime;

namespace ModelGen;

/// <summary>Guesses how a text goes on, cheaply: what a model then checks in one pass (<see cref="SpeculativeGenerator"/>). A wrong guess costs time and changes no text.</summary>
public abstract class DraftSource
{
    /// <summary>Guesses the tokens that follow.</summary>
    /// <param name="text">The tokens so far, one or more.</param>
    /// <param name="drafts">Receives guesses.</param>
    /// <returns>How many there are: 0 where there is none.</returns>
    public abstract int Propose(ReadOnlySpan<int> text, Span<int> drafts);
}

/// <summary>
/// Guesses that a text goes on as it did where its last tokens stood before: for answers that quote their prompt, such as edited code and summaries. It needs no model.
/// </summary>
/// <remarks>Saxena, "Prompt Lookup Decoding" (2023).</remarks>
/// <param name="longest">The most last tokens that are looked up, 1 or more.</param>
/// <param name="shortest">The fewest, 1 to <paramref name="longest"/>.</param>
public sealed class PromptLookup(int longest = 3, int shortest = 1) : DraftSource
{
    private readonly int _longest = longest >= 1 ? longest : throw new ArgumentOutOfRangeException(nameof(longest), longest, "There must be one token or more to look up.");
    private readonly int _shortest = shortest >= 1 && shortest <= longest ? shortest : throw new ArgumentOutOfRangeException(nameof(shortest), shortest, FormattableString.Invariant($"Expected 1 to {longest}."));

    /// <inheritdoc/>
    public override int Propose(ReadOnlySpan<int> text, Span<int> drafts)
    {
        for (int length = Math.Min(_longest, text.Length - 1); length >= _shortest; length--)
        {
            ReadOnlySpan<int> last = text[^length..];

            // The latest place before the last one, which may overlap it.
            int found = text[..^1].LastIndexOf(last);
            if (found >= 0)
            {
                ReadOnlySpan<int> following = text[(found + length)..];
                int count = Math.Min(following.Length, drafts.Length);
                following[..count].CopyTo(drafts);
                return count;
            }
        }

        return 0;
    }
}

/// <summary>Guesses with a smaller model of the same vocabulary: its likeliest tokens.</summary>
/// <remarks>Leviathan, Kalman and Matias, "Fast Inference from Transformers via Speculative Decoding" (2023). Drafts are the likeliest tokens and not drawn, so that a token is accepted with the probability that the large model gives it.</remarks>
public sealed class ModelDraft : DraftSource
{
    private readonly CausalSession _session;
    private readonly List<int> _held = [];

    /// <summary>Takes a session of the smaller model.</summary>
    /// <param name="session">The session, of one sequence; it is reset. It stays the caller's to dispose.</param>
    /// <exception cref="ArgumentException">The session holds several sequences, or its model forgets (<see cref="CausalSession.CanRewind"/>).</exception>
    public ModelDraft(CausalSession session)
    {
        ArgumentNullException.ThrowIfNull(session);
        _session = session.Batch == 1 && session.CanRewind ? session : throw new ArgumentException("Expected a session of one sequence, of a model that can be taken back to any step.", nameof(session));
        session.Reset();
    }

    /// <inheritdoc/>
    public override int Propose(ReadOnlySpan<int> text, Span<int> drafts)
    {
        int limit = _session.ContextLength > 0 ? _session.ContextLength : int.MaxValue;
        int count = Math.Min(drafts.Length, limit - text.Length);
        if (count <= 0)
        {
            return 0;
        }

        // What it has read already of this text is kept, but for the last token, whose logits are asked for.
        int same = 0, most = Math.Min(_held.Count, text.Length - 1);
        while (same < most && _held[same] == text[same])
        {
            same++;
        }

        if (same < _held.Count)
        {
            _session.Rewind(same);
            _held.RemoveRange(same, _held.Count - same);
        }

        ReadOnlySpan<int> added = text[same..];
        ReadOnlySpan<float> logits = _session.Prefill(added);
        foreach (int token in added)
        {
            _held.Add(token);
        }

        for (int i = 0; i < count; i++)
        {
            drafts[i] = Sampler.ArgMax(logits);
            if (i + 1 < count)
            {
                logits = _session.Decode(drafts[i]);
                _held.Add(drafts[i]);
            }
        }

        return count;
    }
}
