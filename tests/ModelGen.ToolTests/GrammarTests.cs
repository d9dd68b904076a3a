using System.Globalization;
using System.Text;
using System.Text.Json;
using ModelGen.Tests.Generator;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tool;

namespace ModelGen.ToolTests;

/// <summary>Grammars and schemas: what they let pass, by a naive reading of their rules, and what a model may say by them.</summary>
[Collection(ToolCommand.Collection)]
public sealed class GrammarTests : IDisposable
{
    private readonly TemporaryFile _file = new("grammar");

    public void Dispose() => _file.Dispose();

    [Theory]
    [InlineData("root ::= \"a\" | \"bc\"", new[] { "a", "bc" }, new[] { "", "b", "ab", "abc" })]
    [InlineData("root ::= [a-c]+ [^a-z] # a comment\n", new[] { "ab1", "cé", "a😀", "a\n" }, new[] { "a", "1", "abd", "a12" })]
    [InlineData("root ::= item (\",\" item)*\nitem ::= [0-9]{2,3} | \"x\"?", new[] { "12", "12,345", "x", "", ",", "12,,x" }, new[] { "1", "1234", "xx" })]
    [InlineData("root ::= \"(\" root \")\" |\n  \"x\"", new[] { "x", "(x)", "(((x)))" }, new[] { "(x", "x)", "()" })]
    [InlineData("root ::= a{3}\na ::= \"x\" | \"yy\"", new[] { "xxx", "yyxx", "yyyyyy" }, new[] { "xx", "xxxx", "yyy" })]
    [InlineData("root ::= ([\\x41-\\x43\\-\\]] | \"\\u00e9\\\"\\\\\\n\")+", new[] { "A-]", "é\"\\\n", "Cé\"\\\nB" }, new[] { "D", "é" })]
    [InlineData("root ::= .{2}", new[] { "ab", "😀é", "\n\n" }, new[] { "a", "abc" })]
    [InlineData("root ::= [\\u0000-\\U0010FFFF]", new[] { "a", "\0", "é", "漢", "😀", "\uE000", "\uD7FF" }, new[] { "", "ab" })]
    [InlineData("root ::= [а-яё]+", new[] { "привет", "ё" }, new[] { "hello", "А" })]
    [InlineData("root ::= x{0,2} \"b\"\nx ::= \"a\"\n\n# end", new[] { "b", "ab", "aab" }, new[] { "aaab", "a" })]
    public void Grammars_let_pass_what_they_should(string gbnf, string[] right, string[] wrong)
    {
        Grammar grammar = Grammar.Parse(gbnf);
        Assert.All(right, text => Assert.True(grammar.Matches(Encoding.UTF8.GetBytes(text)), text));
        Assert.All(wrong, text => Assert.False(grammar.Matches(Encoding.UTF8.GetBytes(text)), text));
        Assert.False(grammar.Matches([0xED, 0xA0, 0x80]));
        Assert.False(grammar.Matches([0xC0, 0x80]));
    }

    [Fact]
    public void Random_grammars_are_read_as_their_rules_say()
    {
        int matched = 0;
        int refused = 0;
        for (int number = 0; number < RandomGrammars.Count; number++)
        {
            Dictionary<string, List<List<string>>> rules = RandomGrammars.Rules(number);
            Grammar grammar;
            try
            {
                grammar = Grammar.Parse(RandomGrammars.Text(rules));
            }
            catch (GrammarException)
            {
                refused++;
                continue;
            }

            foreach (string text in RandomGrammars.Texts(4))
            {
                bool expected = Ends(rules, "root", text, 0, []).Contains(text.Length);
                matched += expected ? 1 : 0;
                Assert.True(expected == grammar.Matches(Encoding.UTF8.GetBytes(text)), $"{number}: '{text}'");
            }
        }

        Assert.InRange(refused, 10, 300);
        Assert.True(matched > 100, $"{matched}");

        // Where what a rule lets pass may end, from a place on. Rules that begin with themselves are refused, so this ends.
        static HashSet<int> Ends(Dictionary<string, List<List<string>>> rules, string rule, string text, int start, HashSet<(string, int)> unused)
        {
            var ends = new HashSet<int>();
            foreach (List<string> sequence in rules[rule])
            {
                HashSet<int> places = [start];
                foreach (string symbol in sequence)
                {
                    places = [.. places.SelectMany(place => symbol[0] == '"' ? place < text.Length && text[place] == symbol[1] ? (IEnumerable<int>)[place + 1] : [] : Ends(rules, symbol, text, place, unused))];
                }

                ends.UnionWith(places);
            }

            return ends;
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("x ::= \"a\"")]
    [InlineData("root ::= y")]
    [InlineData("root ::= root \"a\" | \"b\"")]
    [InlineData("root ::= a\na ::= b \"x\"\nb ::= \"\" a")]
    [InlineData("root ::= (\"a\"*)*")]
    [InlineData("root ::= \"a\" root")]
    [InlineData("root ::= \"a\" | \"b\" x\nx ::= \"c\" y\ny ::= \"d\" x")]
    [InlineData("root ::= \"a\" | [^\\u0000-\\U0010FFFF]")]
    [InlineData("root ::= \"a")]
    [InlineData("root ::= [a")]
    [InlineData("root ::= [z-a]")]
    [InlineData("root ::= (\"a\"")]
    [InlineData("root ::= \"a\")")]
    [InlineData("root ::= * \"a\"")]
    [InlineData("root ::= \"a\"{3,2}")]
    [InlineData("root ::= \"a\"{99999999999}")]
    [InlineData("root ::= \"a\"{")]
    [InlineData("root ::= \"\\q\"")]
    [InlineData("root ::= \"\\uD800\"")]
    [InlineData("root = \"a\"")]
    [InlineData("root ::= \"a\"\nroot ::= \"b\"")]
    public void Wrong_grammars_are_refused(string gbnf) => Assert.Throws<GrammarException>(() => Grammar.Parse(gbnf));

    [Fact]
    public void Deep_and_damaged_grammars_end()
    {
        Assert.Throws<GrammarException>(() => Grammar.Parse("root ::= " + new string('(', 100_000)));
        Assert.Throws<GrammarException>(() => Grammar.FromJsonSchema(string.Concat(Enumerable.Repeat("{\"items\":", 60)) + "3" + new string('}', 60)));
        Assert.Throws<GrammarException>(() => Grammar.FromJsonSchema(new string('[', 100_000)));
        Assert.Throws<GrammarException>(() => Grammar.Parse($"root ::= \"{new string('a', 1000)}\"{{2000}}"));
        Grammar nested = Grammar.Parse("root ::= \"(\" root \")\" | \"x\"");
        Assert.True(nested.Matches(Encoding.UTF8.GetBytes(new string('(', 20_000) + "x" + new string(')', 20_000))));
        const string Source = "root ::= object | [a-z\\n]+ (\",\" item){2,5} # comment\nobject ::= \"{\" (\"a\" | object)? \"}\"\nitem ::= .";
        var random = new Random(3);
        for (int i = 0; i < 2000; i++)
        {
            string source = Source;
            for (int change = random.Next(1, 4); change > 0; change--)
            {
                int at = random.Next(source.Length);
                source = source[..at] + (random.Next(2) == 0 ? "" : "\"[](){}|*+?^-\\:=#\n a9"[random.Next(20)].ToString()) + source[Math.Min(source.Length, at + random.Next(3))..];
            }

            try
            {
                Grammar.Parse(source).Matches("abc,x,y"u8);
            }
            catch (GrammarException)
            {
            }
        }
    }

    [Theory]
    [InlineData("{}", new[] { "{}", "[]", "1", "-0.5e+10", "\"é\\n\\u00e9\"", "true", "null", "{\"a\": [1, {\"b\": null}]}", "[ 1,2 ]" }, new[] { "", "tru", "{a:1}", "01", "[1,]", "\"\n\"", "\"\\ud800\"", "nul" })]
    [InlineData("{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"age\":{\"type\":\"integer\"},\"ok\":{\"type\":\"boolean\"}},\"required\":[\"age\"],\"additionalProperties\":false}",
        new[] { "{\"name\":\"x\",\"age\":3}", "{ \"age\": 3 }", "{\"age\":-12, \"ok\":true}", "{\n  \"name\": \"a\",\n  \"age\": 0,\n  \"ok\": false\n}" }, new[] { "{}", "{\"name\":\"x\"}", "{\"age\":3,\"name\":\"x\"}", "{\"age\":3.5}", "{\"age\":3,}", "{\"age\":3,\"z\":1}" })]
    [InlineData("{\"type\":\"array\",\"items\":{\"enum\":[\"a\",2,null]},\"minItems\":1,\"maxItems\":3}", new[] { "[\"a\"]", "[2, null,\"a\"]" }, new[] { "[]", "[2,2,2,2]", "[3]" })]
    [InlineData("{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", new[] { "\"ab\"", "\"漢字😀\"", "\"a\\\"\"" }, new[] { "\"a\"", "\"abcd\"", "ab" })]
    [InlineData("{\"anyOf\":[{\"const\":{\"k\":[1]}},{\"type\":[\"null\",\"number\"]}]}", new[] { "{\"k\":[1]}", "null", "1.5" }, new[] { "{}", "true" })]
    [InlineData("{\"$ref\":\"#/$defs/tree\",\"$defs\":{\"tree\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},\"c\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/tree\"}}},\"required\":[\"v\"]}}}",
        new[] { "{\"v\":1}", "{\"v\":1,\"c\":[{\"v\":2,\"c\":[]}, {\"v\":3}]}" }, new[] { "{\"c\":[]}", "{\"v\":1,\"c\":[1]}" })]
    [InlineData("{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"string\"}]}", new[] { "[1,\"a\"]" }, new[] { "[1]", "[\"a\",1]" })]
    [InlineData("{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}}", new[] { "{}", "{\"x\":1,\"y\": 2}" }, new[] { "{\"x\":\"y\"}" })]
    [InlineData("{\"type\":[\"string\",\"array\",\"null\"],\"minLength\":2,\"maxItems\":1,\"items\":{\"type\":\"integer\"}}", new[] { "\"ab\"", "[]", "[1]", "null" }, new[] { "\"a\"", "[1,2]", "[\"a\"]", "1" })]
    [InlineData("{\"type\":[\"string\",\"null\"],\"format\":\"date-time\"}", new[] { "\"2026-01-01\"", "null" }, new[] { "1" })]
    [InlineData("{\"type\":[\"integer\",\"object\"],\"enum\":[\"a\",2.0,3.5,null,{ \"k\" : [1, 2] }]}", new[] { "2.0", "{\"k\":[1,2]}" }, new[] { "\"a\"", "3.5", "null" })]
    [InlineData("{\"type\":\"object\",\"properties\":{\"next\":{\"$ref\":\"#\"}}}", new[] { "{}", "{\"next\":{\"next\":{}}}" }, new[] { "{\"next\":1}" })]
    [InlineData("{\"type\":\"integer\",\"minimum\":0,\"maximum\":9223372036854775807}", new[] { "0", "7", "9999999999999999" }, new[] { "-1", "-0", "00", "1.0" })]
    [InlineData("{\"type\":[\"integer\",\"null\"],\"minimum\":3}", new[] { "3", "10", "null" }, new[] { "2", "-3" })]
    [InlineData("{\"type\":\"number\",\"minimum\":0,\"maximum\":1}", new[] { "0", "0.0", "0.5", "1", "1.00" }, new[] { "1.01", "-0.1", "2", "1e0" })]
    [InlineData("{\"type\":\"number\",\"exclusiveMinimum\":0,\"minimum\":-5,\"exclusiveMaximum\":1.5}", new[] { "0.01", "1", "1.49999" }, new[] { "0", "0.00", "1.5", "1.50", "-1" })]
    public void Schemas_let_pass_what_they_should(string schema, string[] right, string[] wrong)
    {
        Grammar grammar = Grammar.FromJsonSchema(schema);
        Assert.All(right, text => Assert.True(grammar.Matches(Encoding.UTF8.GetBytes(text)), text));
        Assert.All(wrong, text => Assert.False(grammar.Matches(Encoding.UTF8.GetBytes(text)), text));
    }

    [Fact]
    public void Numbers_between_bounds_pass_and_no_others()
    {
        var random = new Random(12);
        int within = 0, outside = 0;
        for (int round = 0; round < 300; round++)
        {
            bool isInteger = round % 2 == 0;
            decimal scale = (decimal)Math.Pow(10, random.Next(0, 4)), divisor = (decimal)Math.Pow(10, isInteger && round % 4 == 0 ? 0 : random.Next(0, 4));
            decimal Some() => Math.Floor(((decimal)random.NextDouble() - 0.5m) * 2 * scale * divisor) / divisor;
            decimal first = Some(), second = Some();
            (decimal least, decimal most) = (Math.Min(first, second), Math.Max(first, second));
            (bool hasLeast, bool hasMost, bool isLeastOutside, bool isMostOutside) = (random.Next(5) > 0, random.Next(5) > 0, random.Next(2) > 0, random.Next(2) > 0);
            string schema = $$"""{"type":"{{(isInteger ? "integer" : "number")}}"{{(hasLeast ? FormattableString.Invariant($",\"{(isLeastOutside ? "exclusiveMinimum" : "minimum")}\":{least}") : "")}}{{(hasMost ? FormattableString.Invariant($",\"{(isMostOutside ? "exclusiveMaximum" : "maximum")}\":{most}") : "")}}}""";
            bool IsWithin(decimal value) => (!hasLeast || (isLeastOutside ? value > least : value >= least)) && (!hasMost || (isMostOutside ? value < most : value <= most));
            decimal[] candidates = [least, most, 0, .. Enumerable.Range(0, 60).Select(i => Some() * (i % 3 == 0 ? 10 : 1)), .. Enumerable.Range(-12, 25).SelectMany(i => new[] { least + (i / divisor), most + (i / divisor), most + (i / (divisor * 10)), least + (i / (divisor * 100)) })];
            if (isInteger)
            {
                candidates = [.. candidates.Select(Math.Floor)];
            }

            Grammar grammar;
            try
            {
                grammar = Grammar.FromJsonSchema(schema);
            }
            catch (GrammarException)
            {
                Assert.DoesNotContain(candidates, IsWithin);
                continue;
            }

            foreach (decimal candidate in candidates)
            {
                string text = candidate.ToString(CultureInfo.InvariantCulture);
                bool isWithin = IsWithin(candidate);
                Assert.True(grammar.Matches(Encoding.UTF8.GetBytes(text)) == isWithin, $"{text} of {schema}");
                if (!isInteger)
                {
                    string longer = text.Contains('.', StringComparison.Ordinal) ? text + "00" : text + ".0";
                    Assert.True(grammar.Matches(Encoding.UTF8.GetBytes(longer)) == isWithin, $"{longer} of {schema}");
                }

                within += isWithin ? 1 : 0;
                outside += isWithin ? 0 : 1;
            }
        }

        Assert.InRange(within, 5000, int.MaxValue);
        Assert.InRange(outside, 5000, int.MaxValue);
    }

    [Theory]
    [InlineData("3")]
    [InlineData("{")]
    [InlineData("{\"type\":\"colour\"}")]
    [InlineData("{\"type\":3}")]
    [InlineData("{\"type\":\"string\",\"pattern\":\"a\"}")]
    [InlineData("{\"type\":\"integer\",\"multipleOf\":3}")]
    [InlineData("{\"type\":\"integer\",\"minimum\":\"3\"}")]
    [InlineData("{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}")]
    [InlineData("{\"type\":\"integer\",\"exclusiveMinimum\":1,\"exclusiveMaximum\":2}")]
    [InlineData("{\"type\":\"integer\",\"minimum\":1e16}")]
    [InlineData("{\"type\":\"number\",\"minimum\":-0.25,\"exclusiveMaximum\":-0.25}")]
    [InlineData("{\"type\":\"number\",\"minimum\":1e-40}")]
    [InlineData("{\"type\":\"number\",\"exclusiveMinimum\":true}")]
    [InlineData("{\"type\":\"string\",\"minimum\":3}")]
    [InlineData("{\"minimum\":3}")]
    [InlineData("{\"type\":\"array\",\"uniqueItems\":true}")]
    [InlineData("{\"type\":\"object\",\"required\":[\"x\"]}")]
    [InlineData("{\"$ref\":\"#/$defs/none\"}")]
    [InlineData("{\"$ref\":\"http://example.org\"}")]
    [InlineData("{\"$ref\":\"#\"}")]
    [InlineData("{\"type\":\"object\",\"properties\":{\"next\":{\"$ref\":\"#\"}},\"required\":[\"next\"]}")]
    [InlineData("{\"type\":\"object\",\"properties\":{\"x\":{},\"x\":{}}}")]
    [InlineData("{\"type\":[\"string\",\"null\"],\"pattern\":\"a\"}")]
    [InlineData("{\"type\":[\"string\",\"null\"],\"minimum\":3}")]
    [InlineData("{\"type\":[\"object\",\"null\"],\"minProperties\":1}")]
    [InlineData("{\"type\":[\"array\",\"null\"],\"prefixItems\":[{}],\"minItems\":2}")]
    [InlineData("{\"type\":[\"string\"],\"enum\":[1,null]}")]
    [InlineData("{\"type\":\"integer\",\"const\":1.5}")]
    [InlineData("{\"type\":\"string\",\"maxLength\":1000000000}")]
    [InlineData("{\"type\":\"string\",\"maxLength\":-1}")]
    [InlineData("{\"type\":\"array\",\"minItems\":3,\"maxItems\":2}")]
    [InlineData("{\"enum\":[]}")]
    [InlineData("{\"anyOf\":3}")]
    [InlineData("{\"properties\":[]}")]
    [InlineData("{\"not\":{}}")]
    [InlineData("{\"allOf\":[{},{}]}")]
    public void Schemas_that_would_not_be_kept_are_refused(string schema) => Assert.Throws<GrammarException>(() => Grammar.FromJsonSchema(schema));

    [Theory]
    [InlineData("ggml-vocab-llama-spm.gguf")]
    [InlineData("ggml-vocab-gpt-2.gguf")]
    public void Masks_hold_exactly_the_tokens_that_go_on(string name)
    {
        TextTokenizer tokenizer = TextTokenizer.Load(TestData.File("tokenizers", name));
        Grammar grammar = Grammar.Parse("root ::= \"{\\\"\" [a-zé漢]+ \"\\\": \" [0-9]{1,4} \"}\" | \"abc\" .");
        TokenConstraint constraint = grammar.CreateConstraint(tokenizer);
        byte[] buffer = new byte[tokenizer.MaximumTokenBytes];
        float[] logits = new float[tokenizer.VocabularySize + 3];
        var random = new Random(1);
        for (int text = 0; text < 3; text++)
        {
            var bytes = new List<byte>();
            constraint.Reset();
            while (!constraint.IsComplete)
            {
                Array.Fill(logits, 1f);
                constraint.Exclude(logits);
                Assert.All(logits[tokenizer.VocabularySize..], static logit => Assert.Equal(float.NegativeInfinity, logit));

                // All that may come, and some of all.
                int[] allowed = [.. Enumerable.Range(0, logits.Length).Where(token => logits[token] == 1f)];
                foreach (int token in allowed.Take(1000).Concat(Enumerable.Range(0, 1500).Select(_ => random.Next(tokenizer.VocabularySize))))
                {
                    int length = tokenizer.GetBytes(token, buffer);
                    bool expected = tokenizer.EndTokens.Contains(token) ? grammar.Matches([.. bytes]) : length > 0 && GoesOn([.. bytes, .. buffer[..length]]);
                    Assert.True(expected == (logits[token] == 1f), $"token {token} behind '{Encoding.UTF8.GetString([.. bytes])}'");
                }

                // In the end by what ends it.
                int[] ending = bytes.Count < 12 ? [] : [.. allowed.Where(token => tokenizer.Vocabulary.Tokens[token] is "\"" or "}" or "1")];
                int chosen = ending.Length > 0 ? ending[random.Next(ending.Length)] : allowed[random.Next(allowed.Length)];
                constraint.Accept(chosen);
                bytes.AddRange(buffer[..tokenizer.GetBytes(chosen, buffer)]);
                Assert.True(bytes.Count < 400);
            }

            Assert.True(grammar.Matches([.. bytes]));
            Assert.True(bytes.Count > 3);
            Assert.Throws<ArgumentException>(() => constraint.Accept(tokenizer.Encode("a")[^1]));
        }

        // By a second grammar that ends wherever the first may go on, with what may be missing of a character.
        static bool GoesOn(byte[] bytes) => s_rests.Take(bytes[^1] < 128 ? 1 : s_rests.Length).Any(rest => s_beginnings.Matches([.. bytes, .. rest]));
    }

    private static readonly byte[][] s_rests = [[], [0xA9], [0xBC, 0xA2], [0xA2], [0x80], [0x80, 0x80], [0x80, 0x80, 0x80], [0xA0, 0x80], [0x90, 0x80, 0x80]];

    private static readonly Grammar s_beginnings = Beginnings();

    [Fact]
    public void A_model_says_what_a_schema_lets_it_say()
    {
        string data = TestData.File("stories260K", "stories260K.bin");
        string vocabulary = TestData.File("stories260K", "tok512.bin");
        const string Schema = """{"type":"object","properties":{"name":{"type":"string","maxLength":12},"friends":{"type":"array","items":{"type":"string","maxLength":6},"maxItems":3},"age":{"type":"integer"},"kind":{"enum":["cat","dog"]}},"required":["name","friends","age","kind"]}""";
        File.WriteAllText(_file.Path, Schema);
        for (int seed = 0; seed < 6; seed++)
        {
            JsonElement line = ToolCommand.Json("generate", data, "--tokenizer", vocabulary, "--prompt", "Lily", "--tokens", "400", "--seed", $"{seed}", "--temperature", "1", "--json-schema", _file.Path);
            using JsonDocument answer = JsonDocument.Parse(line.GetProperty("text").GetString()!);
            Assert.Contains(answer.RootElement.GetProperty("kind").GetString(), (string[])["cat", "dog"]);
            Assert.InRange(answer.RootElement.GetProperty("friends").GetArrayLength(), 0, 3);
            Assert.Equal(JsonValueKind.Number, answer.RootElement.GetProperty("age").ValueKind);
        }

        File.WriteAllText(_file.Path, "root ::= \" yes\" | \" no\"");
        Assert.Contains(ToolCommand.Json("run", data, "--tokenizer", vocabulary, "--prompt", "Is it so?", "--grammar", _file.Path).GetProperty("text").GetString(), (string[])[" yes", " no"]);
        File.WriteAllText(_file.Path, "root ::= ");
        Assert.Equal(0, ToolCommand.Run("generate", data, "--tokenizer", vocabulary, "--grammar", _file.Path).Code);
        File.WriteAllText(_file.Path, "root ::= (");
        Assert.Equal(1, ToolCommand.Run("generate", data, "--tokenizer", vocabulary, "--grammar", _file.Path).Code);

        // The same states cost a look-up.
        TextTokenizer tokenizer = TextTokenizer.Load(vocabulary);
        TokenConstraint constraint = Grammar.Parse("root ::= (\"a\" | \"b\" | \"cd\")*").CreateConstraint(tokenizer);
        var sampler = new Sampler(new SamplingOptions { Seed = 1 }, tokenizer.VocabularySize) { Constraint = constraint };
        float[] logits = new float[tokenizer.VocabularySize];
        logits.AsSpan(0, 3).Fill(-1e9f);
        Draw();
        long before = GC.GetAllocatedBytesForCurrentThread();
        Draw();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Draw()
        {
            for (int i = 0; i < 200; i++)
            {
                sampler.Sample(logits);
            }
        }
    }

    // The beginnings of the texts of the grammar above, written out.
    private static Grammar Beginnings() => Grammar.Parse("""
        root ::= "" | "{" | "{\"" w? | "{\"" w "\"" (":" (" " ([0-9]{0,4} | [0-9]{1,4} "}"))?)? | "a" | "ab" | "abc" | "abc" .
        w ::= [a-zé漢]+
        """);
}
