namespace ModelGen.Compiler.Graph;

internal sealed class ModelGraph;
