using System.Diagnostics;
using System.Text;

namespace ModelGen;

/// <summary>
/// Continues prompts by a session, and gives the text as it comes: in whole characters, up to a token or a text that ends it. What the session holds already of a prompt is not computed again: a chat costs what was added to it.
/// The session stays the caller's to dispose, and is nobody else's to use meanwhile. For one thread at a time.
/// </summary>
public sealed class TextGenerator
{
    private readonly CausalSession _session;
    private readonly List<int> _held = [];
    private int _texts;

    /// <summary>Makes a generator.</summary>
    /// <param name="session">The session, of one sequence; it is reset.</param>
    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <exception cref="ArgumentException">The session holds several sequences.</exception>
    public TextGenerator(CausalSession session, TextTokenizer tokenizer)
    {
        ArgumentNullException.ThrowIfNull(session);
        ArgumentNullException.ThrowIfNull(tokenizer);
        _session = session.Batch == 1 ? session : throw new ArgumentException(FormattableString.Invariant($"Expected a session of one sequence, found one of {session.Batch}."), nameof(session));
        Tokenizer = tokenizer;
        session.Reset();
    }

    /// <summary>The tokenizer.</summary>
    public TextTokenizer Tokenizer { get; }

    /// <summary>The most tokens of a prompt and its answer together; 0 where there is no limit.</summary>
    public int ContextLength => _session.ContextLength;

    /// <summary>Why the last text ended.</summary>
    public TextEnd End { get; private set; }

    /// <summary>The tokens that were added last, without one that ended them.</summary>
    public IReadOnlyList<int> Tokens { get; private set; } = [];

    /// <summary>The tokens of the last prompt.</summary>
    public int PromptTokens { get; private set; }

    /// <summary>How many of them the session held already.</summary>
    public int ReusedTokens { get; private set; }

    /// <summary>How long the last prompt took.</summary>
    public TimeSpan PrefillTime { get; private set; }

    /// <summary>How long the tokens behind the first one took, computed by the model.</summary>
    public TimeSpan DecodeTime { get; private set; }

    /// <summary>Continues a prompt.</summary>
    /// <param name="prompt">The prompt's tokens, one at least.</param>
    /// <param name="options">How; null for the defaults.</param>
    /// <param name="cancellation">Ends it between two tokens.</param>
    /// <returns>Parts of the text, none of which ends within a character. The computation is done as they are asked for, and anew each time that they are.</returns>
    /// <exception cref="ArgumentException">The prompt is empty or longer than the context, or the options do not suit the model.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token of the prompt is outside the model's vocabulary.</exception>
    /// <exception cref="InvalidOperationException">More of a text is asked for after another one was begun.</exception>
    public IEnumerable<string> Generate(IReadOnlyList<int> prompt, TextGenerationOptions? options = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        options ??= new TextGenerationOptions();
        if (prompt.Count == 0)
        {
            throw new ArgumentException("A prompt needs at least one token.", nameof(prompt));
        }

        if (ContextLength > 0 && prompt.Count > ContextLength)
        {
            throw new ArgumentException(FormattableString.Invariant($"The prompt has {prompt.Count} tokens, but the context holds {ContextLength}."), nameof(prompt));
        }

        foreach (int token in prompt)
        {
            if ((uint)token >= (uint)_session.VocabularySize)
            {
                throw new ArgumentOutOfRangeException(nameof(prompt), token, FormattableString.Invariant($"Expected tokens below {_session.VocabularySize}."));
            }
        }

        var sampler = new Sampler(options.Sampling, _session.VocabularySize) { Constraint = options.Constraint };
        return Run(prompt, options, sampler, cancellation);
    }

    private IEnumerable<string> Run(IReadOnlyList<int> prompt, TextGenerationOptions options, Sampler sampler, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        int text = ++_texts;
        sampler.Reset();
        sampler.Position = 0;
        End = TextEnd.None;
        PromptTokens = prompt.Count;
        DecodeTime = TimeSpan.Zero;
        var tokens = new List<int>();
        Tokens = tokens;
        float[] logits = new float[_session.VocabularySize];
        Prefill(prompt, logits);
        var decoder = new TextDecoder(Tokenizer);
        char[] characters = new char[decoder.MaximumCharactersPerToken];
        var pending = new PendingText(options.Stops);
        while (End == TextEnd.None)
        {
            cancellation.ThrowIfCancellationRequested();
            if (tokens.Count >= options.MaxTokens || (ContextLength > 0 && _held.Count >= ContextLength && tokens.Count > 0 && tokens.Count + prompt.Count > ContextLength))
            {
                End = TextEnd.Length;
                break;
            }

            int token = options.Constraint?.IsComplete == true ? -1 : Choose(sampler, options, logits);
            if (token < 0)
            {
                End = TextEnd.EndToken;
                break;
            }

            tokens.Add(token);

            // A model may have more tokens than its tokenizer: padding of the table.
            int written = token < Tokenizer.VocabularySize ? decoder.Append(token, characters) : 0;
            ReadOnlySpan<char> added = options.ShownTokens.Contains(token) && token < Tokenizer.VocabularySize ? Tokenizer.Vocabulary.Tokens[token] : characters.AsSpan(0, written);
            string shown = pending.Add(added, out bool isStopped);
            if (isStopped)
            {
                End = TextEnd.StopText;
            }
            else if (tokens.Count == options.MaxTokens || (ContextLength > 0 && _held.Count == ContextLength))
            {
                End = TextEnd.Length;
            }
            else
            {
                long start = Stopwatch.GetTimestamp();
                Step(token, logits);
                DecodeTime += Stopwatch.GetElapsedTime(start);
            }

            if (shown.Length > 0)
            {
                yield return shown;
                if (text != _texts)
                {
                    throw new InvalidOperationException("Another text was begun since, and the session holds that one: ask for all of a text before the next.");
                }
            }
        }

        if (End != TextEnd.StopText)
        {
            int rest = decoder.Flush(characters);
            string last = pending.Add(characters.AsSpan(0, rest), out bool isStopped);
            End = isStopped ? TextEnd.StopText : End;
            last += isStopped ? "" : pending.Rest();
            if (last.Length > 0)
            {
                yield return last;
            }
        }
    }

    private int Choose(Sampler sampler, TextGenerationOptions options, float[] logits)
    {
        int token = sampler.Sample(logits);
        return options.StopsAtEnd && Tokenizer.EndTokens.Contains(token) ? -1 : token;
    }

    private void Step(int token, float[] logits)
    {
        _session.Decode(token).CopyTo(logits);
        _held.Add(token);
    }

    private void Prefill(IReadOnlyList<int> prompt, float[] logits)
    {
        long start = Stopwatch.GetTimestamp();

        // Of a text that goes on, the rest is computed; any other begins anew.
        bool goesOn = _held.Count > 0 && _held.Count < prompt.Count && _held.SequenceEqual(prompt.Take(_held.Count));
        int from = goesOn ? _held.Count : 0;
        int[] rest = [.. prompt.Skip(from)];
        if (!goesOn)
        {
            _held.Clear();
            _session.Reset();
        }

        _session.Prefill(rest).CopyTo(logits);
        _held.AddRange(rest);
        ReusedTokens = from;
        PrefillTime = Stopwatch.GetElapsedTime(start);
    }

    /// <summary>Text that is held back as long as it may be the beginning of one that ends everything.</summary>
    private sealed class PendingText(IReadOnlyList<string> stops)
    {
        private readonly StringBuilder _text = new();

        public string Add(ReadOnlySpan<char> added, out bool isStopped)
        {
            isStopped = false;
            _text.Append(added);
            string text = _text.ToString();
            int end = -1;
            foreach (string stop in stops)
            {
                int at = stop.Length > 0 ? text.IndexOf(stop, StringComparison.Ordinal) : -1;
                end = at >= 0 && (end < 0 || at < end) ? at : end;
            }

            if (end >= 0)
            {
                isStopped = true;
                _text.Clear();
                return text[..end];
            }

            int held = 0;
            foreach (string stop in stops)
            {
                for (int length = Math.Min(stop.Length - 1, text.Length); length > held; length--)
                {
                    if (text.AsSpan(text.Length - length).SequenceEqual(stop.AsSpan(0, length)))
                    {
                        held = length;
                    }
                }
            }

            _text.Remove(0, text.Length - held);
            return text[..(text.Length - held)];
        }

        public string Rest()
        {
            string text = _text.ToString();
            _text.Clear();
            return text;
        }
    }
}
