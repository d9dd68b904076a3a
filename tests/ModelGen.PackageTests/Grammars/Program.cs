using System.Runtime.CompilerServices;
using ModelGen;

// Grammars that were compiled while this was built, beside the same ones read now: masks and texts are one.
TextTokenizer tokenizer = TextTokenizer.Load(args[0]);
Console.WriteLine($"dynamic_code {RuntimeFeature.IsDynamicCodeSupported}");
Walk("answer", Answer.Grammar, Grammar.Parse(Answer.Text));
Walk("person", Person.Grammar, Grammar.FromJsonSchema(Person.Text));
Console.WriteLine($"matches {Answer.Grammar.Matches("yes, 12"u8)} {Answer.Grammar.Matches("maybe"u8)} {Person.Grammar.Matches("{\"name\":\"Ada\",\"age\":36}"u8)} {Person.Grammar.Matches("{\"name\":3}"u8)}");

void Walk(string name, Grammar compiled, Grammar read)
{
    Console.WriteLine($"{name} masks {compiled.HasMasks(tokenizer)} {read.HasMasks(tokenizer)}");
    TokenConstraint one = compiled.CreateConstraint(tokenizer), other = read.CreateConstraint(tokenizer);
    float[] first = new float[tokenizer.VocabularySize], second = new float[first.Length];
    var text = new List<byte>();
    var bytes = new byte[tokenizer.MaximumTokenBytes];
    for (int step = 0; step < 40 && !one.IsComplete; step++)
    {
        Array.Fill(first, 1f);
        Array.Fill(second, 1f);
        one.Exclude(first);
        other.Exclude(second);
        if (!first.AsSpan().SequenceEqual(second))
        {
            Console.WriteLine($"{name} differs at step {step}");
            return;
        }

        // The longest way through: the last token that may come, but the end where only that is left.
        int token = Array.LastIndexOf(first, 1f);
        while (token > 0 && tokenizer.EndTokens.Contains(token))
        {
            token = Array.LastIndexOf(first, 1f, token - 1);
        }

        token = token > 0 ? token : tokenizer.EndTokens[0];
        one.Accept(token);
        other.Accept(token);
        text.AddRange(bytes[..tokenizer.GetBytes(token, bytes)]);
    }

    Console.WriteLine($"{name} text {System.Text.Encoding.UTF8.GetString([.. text])}");
}

[Grammar(Text, Vocabulary = "tokenizer.json")]
internal static partial class Answer
{
    public const string Text = "root ::= (\"yes\" | \"no\") \", \" [0-9]{1,3}";
}

[JsonSchema(Text, Vocabulary = "tokenizer.json")]
internal static partial class Person
{
    public const string Text = "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":4},\"age\":{\"type\":\"integer\"}},\"required\":[\"name\"],\"additionalProperties\":false}";
}
