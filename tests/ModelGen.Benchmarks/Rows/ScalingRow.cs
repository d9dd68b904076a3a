using ModelGen.Benchmarks.Measuring;

namespace ModelGen.Benchmarks.Rows;

/// <summary>Training steps of models that differ in one number from the first.</summary>
internal static class ScalingRow
{
    public static IEnumerable<Measurement> Measure(MeasureSettings settings)
    {
        MeasureSettings own = settings.Default(repeats: 5, seconds: 0.05);
        return
        [
            .. Of<ScalingBase>(own, "base: 2 layers, d 128, T 64", 2, 128, 64, 1, 2),
            .. Of<ScalingLayers4>(own, "4 layers", 4, 128, 64, 1),
            .. Of<ScalingLayers8>(own, "8 layers", 8, 128, 64, 1),
            .. Of<ScalingWidth256>(own, "d 256", 2, 256, 64, 1),
            .. Of<ScalingWidth512>(own, "d 512", 2, 512, 64, 1, 2),
            .. Of<ScalingLength256>(own, "T 256", 2, 128, 256, 1),
            .. Of<ScalingLength1024>(own, "T 1024", 2, 128, 1024, 1, 2),
        ];
    }

    private static IEnumerable<Measurement> Of<TModel>(MeasureSettings settings, string name, int layers, int width, int length, params int[] threads)
        where TModel : ITrainableLanguageModel<TModel>
        => StepRows.Language<TModel>(settings, "scaling", StepRows.GptFlops(layers, width, 4 * width, 256, 4, length), settings.ThreadCounts(threads), name);
}
