namespace ModelGen;

/// <summary>What declarations of grammars have in common. The source generator compiles the grammar while the project is built, and adds a static property <c>Grammar</c> to the class (<see cref="Grammar"/>).</summary>
[AttributeUsage(AttributeTargets.Class, Inherited = false)]
public abstract class GrammarSourceAttribute : Attribute
{
    private protected GrammarSourceAttribute()
    {
    }

    /// <summary>A file with the text, instead of the text: the end of the path of one of the project's <c>AdditionalFiles</c>.</summary>
    public string? File { get; set; }

    /// <summary>
    /// A file with the vocabulary of the model that the grammar is for: its <c>tokenizer.json</c>, or what <c>modelgen vocabulary</c> or <see cref="TextTokenizer.WriteVocabulary(TextWriter)"/> writes of a GGUF file and others: the end of the path of one of the project's <c>AdditionalFiles</c>.
    /// The masks of the tokens that may come next are then computed while the project is built. Without it, or with another tokenizer, they are computed when they are first needed.
    /// </summary>
    public string? Vocabulary { get; set; }

    /// <summary>How many bytes of data the masks may have. They are kept for the states that are reached by the fewest tokens.</summary>
    public int MaskBytes { get; set; } = 1 << 18;
}

/// <summary>Declares a grammar in GBNF, llama.cpp's notation (<see cref="Grammar.Parse(string)"/>), which is compiled while the project is built.</summary>
/// <example><code>
/// [Grammar("root ::= \"yes\" | \"no\"")]
/// public static partial class YesOrNo;
///
/// var options = new TextGenerationOptions { Constraint = YesOrNo.Grammar.CreateConstraint(tokenizer) };
/// </code></example>
public sealed class GrammarAttribute : GrammarSourceAttribute
{
    /// <summary>Declares the grammar of a file: <see cref="GrammarSourceAttribute.File"/>.</summary>
    public GrammarAttribute()
    {
    }

    /// <summary>Declares a grammar.</summary>
    /// <param name="gbnf">The grammar, with a rule <c>root</c>.</param>
    public GrammarAttribute(string gbnf) => Gbnf = gbnf;

    /// <summary>The grammar.</summary>
    public string? Gbnf { get; }
}

/// <summary>Declares the JSON texts that a schema lets pass (<see cref="Grammar.FromJsonSchema(string)"/>), which is compiled while the project is built.</summary>
public sealed class JsonSchemaAttribute : GrammarSourceAttribute
{
    /// <summary>Declares the schema of a file: <see cref="GrammarSourceAttribute.File"/>.</summary>
    public JsonSchemaAttribute()
    {
    }

    /// <summary>Declares a schema.</summary>
    /// <param name="schema">The schema, as JSON.</param>
    public JsonSchemaAttribute(string schema) => Schema = schema;

    /// <summary>The schema.</summary>
    public string? Schema { get; }
}
