using BenchmarkDotNet.Running;
using ModelGen.Benchmarks;

BenchmarkSwitcher.FromAssembly(typeof(GeneratorBenchmarks).Assembly).Run(args.Length == 0 ? ["--filter", "*"] : args);
