using System.Text;

namespace ModelGen;

/// <summary>A chat: turns that are remembered, each answer of a model after another. The oldest turns are left out where the context would not hold them, a system message never. For one thread at a time.</summary>
public sealed class ChatSession
{
    // What an answer may need, where nobody says how long it is.
    private const int LeastRoom = 256;

    private readonly TextGenerator _generator;
    private readonly ChatTemplate _template;
    private readonly List<ChatTurn> _turns = [];

    /// <summary>Makes a chat.</summary>
    /// <param name="generator">The model.</param>
    /// <param name="template">The model's template.</param>
    /// <param name="system">What the model is told beforehand; null for nothing.</param>
    public ChatSession(TextGenerator generator, ChatTemplate template, string? system = null)
    {
        ArgumentNullException.ThrowIfNull(generator);
        ArgumentNullException.ThrowIfNull(template);
        _generator = generator;
        _template = template;
        if (system is not null)
        {
            _turns.Add(new ChatTurn("system", system));
        }
    }

    /// <summary>What was said. More may be added: an earlier chat, results of tools.</summary>
    public IList<ChatTurn> Turns => _turns;

    /// <summary>Variables of the template, such as <c>tools</c> and <c>enable_thinking</c>.</summary>
    public IReadOnlyDictionary<string, object?>? Variables { get; set; }

    /// <summary>Says something and gives the answer as it comes. Once it has come to its end it is one of the turns; where it is cut off, what was said is none.</summary>
    /// <param name="text">What is said.</param>
    /// <param name="options">How the answer is generated; null for the defaults.</param>
    /// <param name="cancellation">Ends it between two tokens.</param>
    /// <exception cref="ChatTemplateException">The template refuses the turns.</exception>
    /// <exception cref="ArgumentException">What is said does not fit the context.</exception>
    public IEnumerable<string> Say(string text, TextGenerationOptions? options = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        return Answer(new ChatTurn("user", text), options, cancellation);
    }

    private IEnumerable<string> Answer(ChatTurn said, TextGenerationOptions? options, CancellationToken cancellation)
    {
        _turns.Add(said);
        var answer = new StringBuilder();
        bool isDone = false;
        try
        {
            int[] prompt = Prompt(_turns, options?.MaxTokens ?? int.MaxValue, cancellation);
            foreach (string part in _generator.Generate(prompt, options, cancellation))
            {
                answer.Append(part);
                yield return part;
            }

            isDone = true;
        }
        finally
        {
            if (isDone)
            {
                _turns.Add(new ChatTurn("assistant", answer.ToString()));
            }
            else
            {
                _turns.Remove(said);
            }
        }
    }

    /// <summary>The tokens of turns, without the oldest where all do not fit.</summary>
    private int[] Prompt(List<ChatTurn> turns, int answer, CancellationToken cancellation)
    {
        int limit = _generator.ContextLength > 0 ? _generator.ContextLength : int.MaxValue;
        int room = Math.Min(answer, Math.Min(LeastRoom, limit / 4));
        var kept = new List<ChatTurn>(turns);
        while (true)
        {
            int[] prompt = Encode(_template, _generator.Tokenizer, kept, Variables, cancellation);
            int first = kept.FindIndex(static turn => turn.Role != "system");
            if (prompt.Length <= limit - room || first >= kept.Count - 1)
            {
                return prompt.Length <= limit ? prompt : throw new ArgumentException(FormattableString.Invariant($"What is said has {prompt.Length} tokens with what must stand before it, but the context holds {limit}."), nameof(turns));
            }

            // A turn and what answers it, up to where a user speaks again.
            do
            {
                kept.RemoveAt(first);
            }
            while (first < kept.Count - 1 && kept[first].Role != "user");
        }
    }

    /// <summary>The tokens of turns by a template.</summary>
    internal static int[] Encode(ChatTemplate template, TextTokenizer tokenizer, IReadOnlyList<ChatTurn> turns, IReadOnlyDictionary<string, object?>? variables, CancellationToken cancellation)
        => tokenizer.Encode(template.Render(turns, addGenerationPrompt: true, variables, tokenizer.TemplateTokens, cancellation: cancellation));
}
