using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>Shows how a text becomes tokens.</summary>
internal static class TokenizeCommand
{
    public static Command Create()
    {
        Argument<string> file = new("FILE") { Description = "A GGUF file, tokenizer.json, tokenizer.model, vocab.txt, vocab.json with merges.txt beside it, tiktoken's ranks, or a llama2.c vocabulary (tok512.bin)." };
        Argument<string> text = new("TEXT") { Description = "The text; - for standard input.", Arity = ArgumentArity.ZeroOrOne, DefaultValueFactory = static _ => "-" };
        Option<bool> special = new("--special") { Description = "Names of special tokens in the text stand for them." };
        Option<bool> json = new("--json") { Description = "Print one line of JSON." };
        var command = new Command("tokenize", "Show a text's tokens.") { file, text, special, json };
        command.SetAction(result =>
        {
            TextTokenizer tokenizer = TextTokenizer.Load(result.GetValue(file)!);
            string input = result.GetValue(text)! is "-" ? Console.In.ReadToEnd() : result.GetValue(text)!;
            int[] ids = result.GetValue(special) ? tokenizer.EncodeSpecial(input) : tokenizer.Encode(input);
            if (result.GetValue(json))
            {
                var line = new JsonObject
                {
                    ["ids"] = new JsonArray([.. ids.Select(static id => (JsonNode)id)]),
                    ["tokens"] = new JsonArray([.. ids.Select(id => (JsonNode)tokenizer.Vocabulary.Tokens[id])]),
                };
                Console.Out.WriteLine(line.ToJsonString(JsonText.Options));
            }
            else
            {
                foreach (int id in ids)
                {
                    Console.Out.WriteLine($"{id}\t{JsonSerializer.Serialize(tokenizer.Vocabulary.Tokens[id], JsonText.Options)}");
                }
            }

            return ExitCode.Success;
        });
        return command;
    }
}
