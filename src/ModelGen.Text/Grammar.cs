using System.ComponentModel;
using System.Text;
using ModelGen.Grammars;

namespace ModelGen;

/// <summary>
/// A grammar of texts, by which a sampler is held to what may come next (<see cref="Sampler.Constraint"/>, <see cref="TextGenerationOptions.Constraint"/>). It works on bytes of UTF-8: tokens may end within a character.
/// </summary>
public sealed class Grammar
{
    private readonly GrammarRules _rules;
    private readonly CompiledGrammar? _compiled;

    private Grammar(GrammarRules rules, CompiledGrammar? compiled = null) => (_rules, _compiled) = (rules, compiled);

    /// <summary>
    /// Reads a grammar in GBNF, llama.cpp's notation: <c>root ::= "yes" | [a-z]+ ("," item){0,3}</c>. Rules have names of letters, digits, - and _; there are texts, classes of characters, the point, brackets, <c>* + ? {m,n}</c> and comments behind #.
    /// </summary>
    /// <param name="gbnf">The grammar, with a rule <c>root</c>.</param>
    /// <exception cref="GrammarException">It is none that is understood here; a rule begins with itself, or has no text that comes to an end; or there are too many symbols.</exception>
    public static Grammar Parse(string gbnf)
    {
        ArgumentNullException.ThrowIfNull(gbnf);
        return new Grammar(GrammarReader.Read(gbnf));
    }

    /// <summary>
    /// The JSON texts that a schema lets pass, or part of them: members come in the order of the schema, and none that it does not name. Known are <c>type</c>, <c>properties</c>, <c>required</c>, <c>additionalProperties</c>, <c>items</c>,
    /// <c>prefixItems</c>, <c>minItems</c>, <c>maxItems</c>, <c>minLength</c>, <c>maxLength</c>, <c>minimum</c>, <c>maximum</c>, <c>exclusiveMinimum</c>, <c>exclusiveMaximum</c>, <c>enum</c>, <c>const</c>, <c>anyOf</c>, <c>oneOf</c> (as <c>anyOf</c>: what several let pass is let pass), and <c>$ref</c> within the schema; other keywords are refused, since what they ask for would not be kept.
    /// </summary>
    /// <param name="schema">The schema, as JSON.</param>
    /// <exception cref="GrammarException">It is no schema that is understood here; the message says where.</exception>
    public static Grammar FromJsonSchema(string schema)
    {
        ArgumentNullException.ThrowIfNull(schema);
        return new Grammar(JsonSchemaGrammar.Read(schema));
    }

    /// <summary>A grammar that was compiled while the program was built: what emitted code calls.</summary>
    /// <param name="data">The compiled grammar.</param>
    /// <exception cref="GrammarException">The data is damaged.</exception>
    [EditorBrowsable(EditorBrowsableState.Never)]
    public static Grammar FromCompiled(ReadOnlySpan<byte> data)
    {
        CompiledGrammar compiled = CompiledGrammar.Read(data.ToArray());
        return new Grammar(compiled.Rules, compiled);
    }

    /// <summary>
    /// The answers of a model that may call tools: calls of these tools with arguments of their schemas, of which is known what <see cref="FromJsonSchema"/> knows; or, where they are not required, any text that does not begin one, and calls behind it.
    /// </summary>
    /// <param name="tools">The tools, one at least.</param>
    /// <param name="syntax">How calls are written.</param>
    /// <param name="isRequired">Whether the answer must be a call.</param>
    /// <param name="mayBeSeveral">Whether there may be several calls.</param>
    /// <exception cref="ArgumentException">There is no tool.</exception>
    /// <exception cref="GrammarException">A schema is none that is understood here; the message says where.</exception>
    public static Grammar ForToolCalls(IReadOnlyList<ToolDefinition> tools, ToolCallSyntax syntax, bool isRequired = false, bool mayBeSeveral = true)
    {
        ArgumentNullException.ThrowIfNull(tools);
        ArgumentNullException.ThrowIfNull(syntax);
        if (tools.Count == 0)
        {
            throw new ArgumentException("Expected a tool.", nameof(tools));
        }

        return new Grammar(JsonSchemaGrammar.ReadTools(tools, syntax, isRequired, mayBeSeveral));
    }

    /// <summary>Any JSON value.</summary>
    public static Grammar Json() => FromJsonSchema("{}");

    /// <summary>Whether a text is one of the grammar's.</summary>
    /// <param name="utf8">The text.</param>
    public bool Matches(ReadOnlySpan<byte> utf8)
    {
        var machine = new GrammarMachine(_rules, _compiled?.Automaton);
        int state = machine.Start;
        foreach (byte value in utf8)
        {
            state = machine.Next(state, value);
            if (state == GrammarMachine.Dead)
            {
                return false;
            }

            state = machine.Count > 4096 ? machine.Forget(state) : state;
        }

        return machine.MayEnd(state);
    }

    /// <summary>What holds one text to the grammar.</summary>
    /// <param name="tokenizer">The model's tokenizer; its end tokens may come where a text of the grammar may end.</param>
    public TokenConstraint CreateConstraint(TextTokenizer tokenizer) => CreateConstraint(tokenizer, []);

    /// <summary>What holds one text to the grammar.</summary>
    /// <param name="tokenizer">The model's tokenizer; its end tokens may come where a text of the grammar may end.</param>
    /// <param name="shownTokens">Special tokens that are part of the text, by their names (<see cref="TextGenerationOptions.ShownTokens"/>).</param>
    /// <exception cref="ArgumentOutOfRangeException">A token is outside the vocabulary.</exception>
    public TokenConstraint CreateConstraint(TextTokenizer tokenizer, IReadOnlyList<int> shownTokens)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentNullException.ThrowIfNull(shownTokens);
        if (shownTokens.Count == 0)
        {
            return new GrammarConstraint(_rules, _compiled, tokenizer.Table);
        }

        byte[][] bytes = [.. tokenizer.Table.Bytes];
        foreach (int token in shownTokens)
        {
            bytes[(uint)token < (uint)bytes.Length ? token : throw new ArgumentOutOfRangeException(nameof(shownTokens), token, FormattableString.Invariant($"Expected tokens below {bytes.Length}."))] = Encoding.UTF8.GetBytes(tokenizer.Vocabulary.Tokens[token]);
        }

        return new GrammarConstraint(_rules, _compiled, new TokenTable(bytes, tokenizer.EndTokens));
    }

    /// <summary>Whether the masks of tokens that were computed while the program was built are of a tokenizer's vocabulary. They are used for no other: there masks are computed as they are needed, and are the same.</summary>
    /// <param name="tokenizer">The tokenizer.</param>
    public bool HasMasks(TextTokenizer tokenizer)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        return _compiled?.HasMasksOf(tokenizer.Table) == true;
    }
}
